//go:build linux

package fs

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

func TestAttributesOfDirectoriesBelowARenamedOneAreKept(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	check(t, os.MkdirAll(m.path("a/b/c"), 0755))
	check(t, os.Chmod(m.path("a/b"), 0700))
	check(t, os.Rename(m.path("a"), m.path("z")))
	check(t, os.Chmod(m.path("z/b/c"), 0711))
	m.close()
	m = w.mount(nil)
	for name, want := range map[string]uint32{"z/b": 0700, "z/b/c": 0711} {
		if got := stat(t, m.path(name)).Mode & 07777; got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
}

func TestAFileWhoseRenameCouldNotRemoveItStaysWhatItWas(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(s *served) { s.FS.AttrTTL = 0 })
	m.write("a", "content")
	rule := w.box.Faults.Add(wire.Fault{Op: "DeleteObject", Key: "p/a", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
	m.fails(os.Rename(m.path("a"), m.path("b")), syscall.EACCES)
	rule.Remove()
	appendTo(t, m.path("a"), " and more")
	m.wants("a", "content and more")
	m.wants("b", "content")
	check(t, os.Rename(m.path("a"), m.path("b")))
	m.wants("b", "content and more")
}

// A large directory takes its time: what is written elsewhere is committed
// meanwhile, and what is written in it is when it has its new name.
func TestCommitsGoOnBesideTheRenameOfADirectory(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	for _, name := range []string{"a", "b"} {
		check(t, os.Mkdir(m.path(name), 0o755))
		m.write(name+"/f", "old")
	}
	f, err := os.OpenFile(m.path("a/f"), os.O_WRONLY|os.O_TRUNC, 0)
	check(t, err)
	rule := w.box.Faults.Add(wire.Fault{Op: "CopyObject", Kind: wire.Hang})
	renamed := make(chan error, 1)
	go func() { renamed <- os.Rename(m.path("a"), m.path("c")) }()
	<-rule.Struck()
	m.write("b/f", "new") // by a close, which returns
	closed := make(chan error, 1)
	go func() {
		_, err := f.WriteString("new")
		closed <- errors.Join(err, f.Close())
	}()
	rule.Remove()
	check(t, <-renamed)
	check(t, <-closed)
	for _, name := range []string{"b/f", "c/f"} {
		if got, err := os.ReadFile(m.path(name)); err != nil || string(got) != "new" {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
}
