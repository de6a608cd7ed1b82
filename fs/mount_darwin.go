package fs

import (
	"fmt"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const extraCapabilities = fuse.CAP_ATOMIC_O_TRUNC

func mountFlags(bool) uintptr { return 0 }

// checkFUSE reports what mounting needs and is not there.
func checkFUSE() error {
	const helper = "/Library/Filesystems/macfuse.fs"
	if _, err := os.Stat(helper); err != nil {
		return fmt.Errorf("%s: %w; install macFUSE", helper, err)
	}
	return nil
}

func unmount(dir string) error { return syscall.Unmount(dir, 0) }

// raiseReadAhead has nothing to raise on macOS.
func raiseReadAhead(string) error { return nil }
