package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// hideMemory keeps the memory of this process, where plaintext and
// credentials are, from core dumps and from other processes of the user.
func hideMemory() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid access to the memory: %w", err)
	}
	return nil
}

// forbidExec makes the mounted dir one from which no program can be run. A
// remount sets all flags anew, so it must be told those that stay.
func forbidExec(dir string, readOnly bool) error {
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount("", dir, "", flags, ""); err != nil {
		return fmt.Errorf("make %s noexec: %w; only root can, so leave out noexec or mount as root", dir, err)
	}
	return nil
}

// replaceStderr makes f the standard error of this process.
func replaceStderr(f *os.File) error { return unix.Dup3(int(f.Fd()), 2, 0) }
