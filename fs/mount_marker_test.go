//go:build linux

package fs

import (
	"errors"
	"os"
	"testing"

	"github.com/kmsfs/kmsfs/s3io"
	"golang.org/x/sys/unix"
)

// Markers are empty: where S3 encrypts as the bucket says, all of them have one
// ETag. What is remembered of one from the same second is not taken for it.
func TestAttributesOfADirectoryThatChangeWithinASecond(t *testing.T) {
	w := newWorld(t)
	edit := func(c *served) { sealed(c); c.FS.AttrTTL = 0 }
	m := w.mount(edit)
	write := func() {
		d, err := os.Open(m.path("d"))
		check(t, err)
		check(t, errors.Join(d.Sync(), d.Close()))
	}
	names := []string{"user.a", "user.Ünï", "user.c", "user.d"}
	for range 3 {
		check(t, os.Mkdir(m.path("d"), 0o755))
		if got := xattrNames(t, m.path("d")); got != "" {
			t.Errorf("a new directory has %q", got)
		}
		for i, name := range names {
			check(t, unix.Setxattr(m.path("d"), name, []byte{'x'}, 0))
			write()
			stat(t, m.path("d")) // asks S3
			check(t, os.Chmod(m.path("d"), os.FileMode(0o700+i)))
			write()
		}
		for _, name := range names {
			if got := xattr(t, m.path("d"), name); got != "x" {
				t.Errorf("%s is %s", name, got)
			}
		}
		if m2 := stat(t, m.path("d")).Mode & 0o777; m2 != 0o703 {
			t.Errorf("mode %o", m2)
		}
		check(t, os.Remove(m.path("d")))
	}
	m.close()
}

// An answer that S3 gave before the marker was written does not tell what it is.
func TestAnAnswerFromBeforeAMarkerWasWritten(t *testing.T) {
	f := &FS{heads: newHeads(10)}
	d := f.newDir(s3io.Object{Key: "d/", ETag: `"one"`})
	before := f.clock.Load()
	d.pinLocked(s3io.Object{Key: "d/", ETag: `"two"`})
	d.accept(s3io.Object{Key: "d/", ETag: `"one"`}, before)
	if d.marker.ETag != `"two"` {
		t.Error("the older marker was taken")
	}
	d.accept(s3io.Object{Key: "d/", ETag: `"three"`}, f.clock.Load())
	if d.marker.ETag != `"three"` {
		t.Error("a newer marker was not taken")
	}
}

// Somebody else makes the marker of a directory whose attributes wait to be written
// to a new one: theirs stand, and nothing is tried for ever.
func TestAMarkerThatAppears(t *testing.T) {
	w := newWorld(t)
	b := w.other()
	w.put(b, "d/f", "x")
	m := w.mount(nil)
	check(t, os.Chmod(m.path("d"), 0o700))
	w.put(b, "d/", "")
	d, err := os.Open(m.path("d"))
	check(t, err)
	defer d.Close()
	m.fails(d.Sync(), unix.ESTALE)
	check(t, d.Sync())
	if got := m.ask("pending"); got != "" {
		t.Errorf("pending: %s", got)
	}
}
