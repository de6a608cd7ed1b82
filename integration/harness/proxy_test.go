package harness

import (
	"os"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

func TestMain(m *testing.M) { Main(m) }

// A mount behind a proxy has the same files, and its requests are counted and
// go wrong there.
func TestProxy(t *testing.T) {
	srv := Sandbox(t).In(t, ChosenMode())
	through, p := srv.Behind(t)
	m := through.Mount(t, "--timeout", "3s")
	want := Random(1, 1<<20)
	Write(t, m.Path("f"), want)
	if p.Log.Count("PutObject") != 1 {
		t.Errorf("counted %v", p.Log.Counts())
	}
	p.Faults.Add(wire.Fault{Op: "PutObject", Kind: wire.ResetRequest, Cut: 1000, Times: 1})
	Write(t, m.Path("g"), want)
	p.Stop()
	if _, err := os.Stat(m.Path("other")); err == nil {
		t.Error("an outage answers")
	}
	p.Start(t)
	m.Unmount()
	m = srv.Mount(t) // the same identity without the proxy
	Want(t, m.Path("f"), want)
	Want(t, m.Path("g"), want)
}
