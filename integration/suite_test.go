package integration

import (
	"runtime"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/integration/suite"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestSuite runs every case in every mode, on one processor in that which does
// most.
func TestSuite(t *testing.T) {
	modes := []harness.Mode{harness.SSE, harness.Envelope, harness.Both}
	if runtime.GOMAXPROCS(0) == 1 {
		modes = []harness.Mode{harness.Both}
	}
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			suite.Run(t, func(t testing.TB) *harness.Server { return harness.Sandbox(t).In(t, mode) })
		})
	}
}
