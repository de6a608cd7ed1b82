//go:build linux

package fs

import (
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// crash ends the server as a power cut would.
func (m *mount) crash() {
	m.t.Helper()
	check(m.t, m.cmd.Process.Kill())
	_ = m.cmd.Wait() // says that it was killed
	m.cmd = nil
	check(m.t, syscall.Unmount(m.dir, syscall.MNT_DETACH))
}

func TestASecondMountLeavesUnlinkedFilesOfTheFirstAlone(t *testing.T) {
	w := newWorld(t)
	first := w.mount(nil)
	content := strings.Repeat("0123456789", heldFile/10+1)
	first.write("f", content)
	f, err := os.Open(first.path("f"))
	check(t, err)
	check(t, os.Remove(first.path("f")))
	second := w.mount(nil) // of the same state directory
	got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil || string(got) != content {
		t.Errorf("%d of %d bytes are left, %v", len(got), len(content), err)
	}
	first.crash()
	_ = f.Close() // tells what became of the server
	second.close()
	if keys := w.keys(); len(keys) != 1 || !strings.HasPrefix(keys[0], ".kmsfs/open/") {
		t.Fatalf("the crash left %q", keys)
	}
	w.mount(nil).close()
	if keys := w.keys(); !slices.Equal(keys, nil) {
		t.Errorf("left are %q", keys)
	}
}
