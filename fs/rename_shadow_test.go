//go:build linux

package fs

import (
	"os"
	"syscall"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
	"github.com/kmsfs/kmsfs/s3io"
)

func TestAHiddenObjectTakesTheNameOfItsDirectory(t *testing.T) {
	for _, mode := range []string{s3io.ModeKMS, s3io.ModeS3} { // with ETags that copies change, and keep
		w := newWorld(t)
		b := w.other()
		w.put(b, "x", "content")
		w.put(b, "x/y", "below")
		m := w.mount(func(s *served) {
			s.S3.Policy.Mode = mode
			if mode == s3io.ModeS3 {
				s.S3.Policy.KeyID = ""
			}
		})
		m.wants("x"+shadow, "content")
		check(t, os.Remove(m.path("x/y")))
		check(t, os.Remove(m.path("x")))
		check(t, os.Rename(m.path("x"+shadow), m.path("x")))
		m.wants("x", "content")
		if o := w.head(b, "x"); o.Size != int64(len("content")) {
			t.Errorf("%d bytes are left", o.Size)
		}
	}
}

func TestADirectoryThatCouldNotBeReplacedStays(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	check(t, os.Mkdir(m.path("a"), 0755))
	check(t, os.Mkdir(m.path("b"), 0711))
	m.write("a/f", "content")
	rule := w.box.Faults.Add(wire.Fault{Op: "CopyObject", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
	if err := syscall.Rename(m.path("a"), m.path("b")); err == nil {
		t.Fatal("renamed without copies")
	}
	rule.Remove()
	m.close()
	m = w.mount(nil)
	if got := stat(t, m.path("b")).Mode & 07777; got != 0711 {
		t.Errorf("b has mode %o", got)
	}
	m.wants("a/f", "content")
}
