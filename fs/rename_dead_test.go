//go:build linux

package fs

import (
	"slices"
	"syscall"
	"testing"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
)

// The caller of a rename was killed while it waited, and the directory that it meant
// was removed: nothing is moved to where no name leads.
func TestARenameIntoARemovedDirectoryMovesNothing(t *testing.T) {
	w := newWorld(t)
	b := w.other()
	w.put(b, "f", "content")
	w.put(b, "d/f", "content")
	w.put(b, "x/", "")
	f, err := New(b, defaults())
	check(t, err)
	fusefs.NewNodeFS(f.root, f.mountOptions())
	x, err := f.root.find(t.Context(), "x")
	check(t, err)
	check(t, f.root.rmdir(t.Context(), "x"))
	for _, name := range []string{"f", "d"} {
		if err := f.root.rename(t.Context(), name, x.(*dir), "new", false, &progress{}); errnoOf(err, true) != syscall.ENOENT {
			t.Errorf("%s: %v", name, err)
		}
	}
	if keys := w.keys(); !slices.Equal(keys, []string{"d/f", "f"}) {
		t.Errorf("the keys are %q", keys)
	}
}
