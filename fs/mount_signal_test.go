//go:build linux

package fs

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

func TestSignalsDoNotTearReads(t *testing.T) {
	w := newWorld(t)
	w.put(w.other(), "f", "content")
	m := w.mount(nil)
	rule := w.box.Faults.Add(wire.Fault{Op: "GetObject", Kind: wire.Hang})
	cmd, out := m.task("read", "f")
	waitFor(t, "the read", func() bool { return rule.Hits() > 0 })
	for range 3 {
		check(t, cmd.Process.Signal(syscall.SIGUSR1))
	}
	rule.Remove()
	if err := cmd.Wait(); err != nil || out.String() != "content" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAKilledReaderDoesNotWait(t *testing.T) {
	w := newWorld(t)
	w.put(w.other(), "f", "content")
	m := w.mount(nil)
	rule := w.box.Faults.Add(wire.Fault{Op: "GetObject", Kind: wire.Hang})
	cmd, _ := m.task("read", "f")
	waitFor(t, "the read", func() bool { return rule.Hits() > 0 })
	check(t, cmd.Process.Signal(syscall.SIGUSR1)) // the only one that the kernel tells of
	check(t, cmd.Process.Kill())
	waitEnd(t, cmd)
	rule.Remove()
	m.wants("f", "content")
}

func TestAKilledWriterDoesNotTearItsUpload(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	rule := w.box.Faults.Add(wire.Fault{Op: "PutObject", Key: "p/f", Kind: wire.Hang})
	cmd, _ := m.task("write", "f")
	waitFor(t, "the upload", func() bool { return rule.Hits() > 0 })
	check(t, cmd.Process.Kill())
	waitEnd(t, cmd)
	if p := m.ask("pending"); !strings.Contains(p, "/f") {
		t.Errorf("pending: %s", p)
	}
	rule.Remove()
	waitFor(t, "the commit", func() bool { return m.ask("pending") == "" })
	m.wants("f", "written by a task")
}

// waitEnd expects that a killed process ends although what it waited for hangs.
func waitEnd(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("a killed process waits on")
	}
}
