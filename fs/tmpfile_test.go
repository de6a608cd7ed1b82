//go:build linux

package fs

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFilesWithoutANameLeaveNothing(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("neighbour", "has a name")
	f, err := os.OpenFile(m.dir, unix.O_TMPFILE|os.O_RDWR, 0o640)
	check(t, err)
	defer f.Close()
	content := bytes.Repeat([]byte("temporary "), 2<<20) // more than one part
	_, err = f.Write(content)
	check(t, err)
	got := make([]byte, 64<<10)
	_, err = f.ReadAt(got, 0)
	check(t, err)
	if !bytes.Equal(got, content[:len(got)]) {
		t.Error("it reads something else than was written")
	}
	info, err := f.Stat()
	check(t, err)
	if info.Size() != int64(len(content)) || info.Mode() != 0o640 || info.Sys().(*syscall.Stat_t).Nlink != 0 {
		t.Errorf("stat shows %d bytes, mode %v, %d links", info.Size(), info.Mode(), info.Sys().(*syscall.Stat_t).Nlink)
	}
	err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, m.path("linked"), unix.AT_SYMLINK_FOLLOW)
	m.fails(err, syscall.EPERM)
	check(t, f.Sync())
	check(t, f.Close())
	m.close()
	if keys := w.keys(); len(keys) != 1 || keys[0] != "neighbour" {
		t.Errorf("the bucket has %q, want the neighbour alone", keys)
	}
}
