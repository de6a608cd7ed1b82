package integration

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// linksAndSpecialFiles makes one of each kind, and sees them in S3, on another host and
// after a remount.
func linksAndSpecialFiles(t *testing.T) {
	s := sandboxed(t)
	m := s.Mount(t)
	harness.Must(t, os.Symlink("../somewhere else", m.Path("link")))
	harness.Must(t, syscall.Mkfifo(m.Path("fifo"), 0o640))
	harness.Must(t, syscall.Mknod(m.Path("device"), syscall.S_IFCHR|0o600, 1<<8|3))
	harness.Must(t, syscall.Mknod(m.Path("socket"), syscall.S_IFSOCK|0o600, 0))
	modes := map[string]fs.FileMode{
		"link": fs.ModeSymlink | 0o777, "fifo": fs.ModeNamedPipe | 0o640,
		"device": fs.ModeDevice | fs.ModeCharDevice | 0o600, "socket": fs.ModeSocket | 0o600,
	}
	seen := func(m *harness.Mount) {
		t.Helper()
		for name, mode := range modes {
			st, err := os.Lstat(m.Path(name))
			harness.Must(t, err)
			if st.Mode() != mode {
				t.Errorf("%s has the mode %v, want %v", name, st.Mode(), mode)
			}
			if rdev := st.Sys().(*syscall.Stat_t).Rdev; name == "device" && rdev != 1<<8|3 {
				t.Errorf("the device has the number %#x", rdev)
			}
		}
		target, err := os.Readlink(m.Path("link"))
		if err != nil || target != "../somewhere else" {
			t.Errorf("the link leads to %q, %v", target, err)
		}
	}
	seen(m)
	seen(s.OtherHost().Mount(t))
	harness.WantErrno(t, "a second link of that name", os.Symlink("x", m.Path("link")), syscall.EEXIST)
	harness.Must(t, os.Rename(m.Path("link"), m.Path("moved")))
	harness.Must(t, os.Remove(m.Path("fifo")))
	m.Unmount()
	if keys := strings.Join(s.Keys(t), " "); keys != "device moved socket" {
		t.Errorf("keys: %s", keys)
	}
	harness.Equal(t, "content of the link's object", s.Get(t, "moved"), []byte("../somewhere else"))
}
