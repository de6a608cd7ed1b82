package fs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// extraCapabilities are those that go-fuse does not ask for by itself.
//   - HANDLE_KILLPRIV_V2 saves a GETXATTR for each write; we clear suid and sgid.
//   - ATOMIC_O_TRUNC makes open and truncate one request.
//   - ASYNC_DIO and the others that are on by default need no mention.
const extraCapabilities = fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_ATOMIC_O_TRUNC

// mountFlags are those of fusermount3, and read-only.
func mountFlags(readOnly bool) uintptr {
	flags := uintptr(syscall.MS_NOSUID | syscall.MS_NODEV)
	if readOnly {
		flags |= syscall.MS_RDONLY
	}
	return flags
}

// raiseReadAhead lets the kernel read requestSize ahead instead of 128 KiB, and
// so ask for that much at a time. It needs root, and the mount works without.
// https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-class-bdi
func raiseReadAhead(dir string) error {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return err
	}
	path := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
	return os.WriteFile(path, []byte(strconv.Itoa(requestSize>>10)), 0)
}

// checkFUSE reports what mounting needs and is not there.
func checkFUSE() error {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fmt.Errorf("/dev/fuse: %w; load the module (modprobe fuse), or start the container with --device /dev/fuse", err)
	}
	if os.Geteuid() == 0 {
		return nil
	}
	if _, err := fusermount(); err != nil {
		return fmt.Errorf("fusermount3 was not found: %w; install it (package fuse3) or mount as root", err)
	}
	return nil
}

func fusermount() (string, error) {
	if path, err := exec.LookPath("fusermount3"); err == nil {
		return path, nil
	}
	return exec.LookPath("fusermount")
}

// unmount detaches dir. fusermount3 tells a busy mount by its text alone, so
// that is what any refusal of a mount that is still there is taken for.
func unmount(dir string) error {
	err := syscall.Unmount(dir, 0)
	if err == nil || !errors.Is(err, syscall.EPERM) {
		return err
	}
	bin, err := fusermount()
	if err != nil {
		return err
	}
	cmd := exec.Command(bin, "-u", dir)
	cmd.Env = []string{} // credentials are not its business
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", syscall.EBUSY, strings.TrimSpace(string(out)))
	}
	return nil
}
