package faults

import (
	"flag"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// TestMain has more tests wait at a time than there are processors: they wait
// for deadlines.
func TestMain(m *testing.M) {
	BecomeAgent()
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	harness.Main(m)
}

// TestTable tries every row of docs/FAULTS.md.
func TestTable(t *testing.T) {
	r := &Runner{Table: ReadTable(t), Start: func(t testing.TB) (*harness.Server, *wire.Faults) {
		s := harness.Sandbox(t).In(t, harness.ChosenMode())
		return s, s.Sandbox.Faults
	}}
	for _, f := range Faults() {
		t.Run(f.Name+", "+f.Form, func(t *testing.T) {
			t.Parallel()
			r.Run(t, f)
		})
	}
}
