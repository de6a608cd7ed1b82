//go:build linux

package fs

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// killedRename begins to rename name in another process, to name.renamed, and
// kills that while the copy hangs: the rename goes on until resume is called,
// but the kernel lets others at the names.
func killedRename(w *world, m *mount, name string) (resume func()) {
	w.t.Helper()
	rule := w.box.Faults.Add(wire.Fault{Op: "CopyObject", Kind: wire.Hang})
	cmd, _ := m.task("rename", name)
	waitFor(w.t, "the copy", func() bool { return rule.Hits() > 0 })
	check(w.t, cmd.Process.Signal(syscall.SIGUSR1)) // the only one that the kernel tells of
	check(w.t, cmd.Process.Kill())
	waitEnd(w.t, cmd)
	return rule.Remove
}

// behind does work, which becomes a job of the mount, and then resumes what
// that waits for.
func (m *mount) behind(job string, work func() error, resume func()) error {
	m.t.Helper()
	done := make(chan error, 1)
	go func() { done <- work() }()
	waitFor(m.t, job, func() bool { return strings.Contains(m.ask("pending"), job) })
	resume()
	return <-done
}

func TestWhatAKilledRenameMovesIsNotRemovedUnderItsOldName(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(s *served) { s.FS.AttrTTL = 0 })
	m.write("a", "content")
	resume := killedRename(w, m, "a")
	err := m.behind("unlink /a", func() error { return os.Remove(m.path("a")) }, resume)
	m.fails(err, syscall.ENOENT)
	m.wants("a.renamed", "content")
}

func TestWhatAKilledRenameMovesIsNotMovedAgain(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(s *served) { s.FS.AttrTTL = 0 })
	m.write("a", "content")
	m.write("b", "older")
	resume := killedRename(w, m, "a")
	err := m.behind("rename /a to /b", func() error { return os.Rename(m.path("a"), m.path("b")) }, resume)
	m.fails(err, syscall.ENOENT)
	m.wants("a.renamed", "content")
	m.wants("b", "older")
}

func TestWhatAKilledRenameReplacesIsNotReplacedElsewhere(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(s *served) { s.FS.AttrTTL = 0 })
	m.write("a", "content")
	m.write("a.renamed", "older")
	m.write("b", "more")
	resume := killedRename(w, m, "a")
	err := m.behind("rename /b to", func() error { return os.Rename(m.path("b"), m.path("a.renamed")) }, resume)
	check(t, err)
	m.wants("a.renamed", "more")
	m.close()
	if keys := w.keys(); !slices.Equal(keys, []string{"a.renamed"}) {
		t.Errorf("left are %q", keys)
	}
}
