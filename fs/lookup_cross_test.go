//go:build linux

package fs

import (
	"net/http"
	"syscall"
	"testing"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// The kernel asks again for a name that it knows without any lock, so that the
// answer can cross with a removal.
func TestALookupThatCrossesARemovalBringsNothingBack(t *testing.T) {
	for what, remove := range map[string]func(*FS) error{
		"unlink": func(f *FS) error { return f.root.unlink(t.Context(), "f") },
		"rename": func(f *FS) error { return f.root.rename(t.Context(), "f", f.root, "g", false, &progress{}) },
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			b := w.other()
			w.put(b, "f", "content")
			f, err := New(b, defaults())
			check(t, err)
			fusefs.NewNodeFS(f.root, f.mountOptions())
			n, err := f.root.find(t.Context(), "f")
			check(t, err)
			n.(*file).checked = n.(*file).checked.Add(-f.o.AttrTTL)

			answered, pass := make(chan struct{}), make(chan struct{})
			w.box.Faults.Add(wire.Fault{Op: "HeadObject", Key: "p/f", Kind: wire.EditHeader, Times: 1, Edit: func(http.Header) {
				close(answered)
				<-pass
			}})
			done := make(chan error, 1)
			go func() {
				_, err := f.root.find(t.Context(), "f")
				done <- err
			}()
			<-answered
			check(t, remove(f))
			close(pass)
			if err := <-done; errnoOf(err, false) != syscall.ENOENT {
				t.Errorf("the lookup says %v", err)
			}
			if _, err := f.root.find(t.Context(), "f"); errnoOf(err, false) != syscall.ENOENT {
				t.Errorf("the next lookup says %v", err)
			}
		})
	}
}
