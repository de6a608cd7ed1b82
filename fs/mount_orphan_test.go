//go:build linux

package fs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// The last descriptor is closed while the content is being moved away for it.
func TestAFileThatIsClosedWhileItIsUnlinkedLeavesNothing(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("f", strings.Repeat("x", heldFile+1))
	f, err := os.Open(m.path("f"))
	check(t, err)
	rule := w.box.Faults.Add(wire.Fault{Op: "CopyObject", Kind: wire.Hang})
	unlinked := make(chan error, 1)
	go func() { unlinked <- os.Remove(m.path("f")) }()
	waitFor(t, "the copy", func() bool { return rule.Hits() > 0 })
	check(t, f.Close())
	for range 50 { // the kernel tells of it a little later, and cannot be asked: it holds the directory's lock
		m.ask("pending")
	}
	rule.Remove()
	rule.Release()
	check(t, <-unlinked)
	if got := m.ask("drain"); got != "" {
		t.Error(got)
	}
	if keys := w.keys(); len(keys) > 0 {
		t.Errorf("left: %q", keys)
	}
}

// The kernel tells of a close after it answered it, and not at all if it
// unmounts first.
func TestFilesWithoutANameThatAreClosedBeforeTheUnmountLeaveNothing(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	var open []*os.File
	for i := range 6 {
		name := fmt.Sprint("f", i)
		m.write(name, strings.Repeat("x", heldFile+1))
		f, err := os.Open(m.path(name))
		check(t, err)
		check(t, os.Remove(m.path(name)))
		open = append(open, f)
	}
	for _, f := range open {
		check(t, f.Close())
	}
	if got := m.ask("unmount"); got != "" {
		t.Error(got)
	}
	m.close()
	if keys := w.keys(); len(keys) > 0 {
		t.Errorf("left: %q", keys)
	}
}

// What cannot be saved is no reason to keep the name of it: rm works at once, and
// the descriptor says what became of the content.
func TestUnlinkOfAFileWhoseUploadFailed(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("f", "old")
	f, err := os.OpenFile(m.path("f"), os.O_WRONLY|os.O_TRUNC, 0)
	check(t, err)
	rule := w.box.Faults.Add(wire.Fault{Op: "UploadPart", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
	block := bytes.Repeat([]byte("x"), 1<<20)
	for range 20 { // the first part waits for the commit
		_, err := f.Write(block)
		check(t, err)
	}
	waitFor(t, "the part", func() bool { return rule.Hits() > 0 })
	check(t, os.Remove(m.path("f")))
	if err := f.Sync(); !errors.Is(err, syscall.EACCES) {
		t.Errorf("fsync: %v", err)
	}
	if err := f.Close(); !errors.Is(err, syscall.EACCES) {
		t.Errorf("close: %v", err)
	}
	rule.Remove()
	if got := m.ask("drain"); got != "" {
		t.Error(got)
	}
	if keys := w.keys(); len(keys) > 0 {
		t.Errorf("left: %q", keys)
	}
}
