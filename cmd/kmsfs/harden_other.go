//go:build !linux

package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// hideMemory keeps the memory of this process, where plaintext and
// credentials are, from core dumps.
func hideMemory() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}

// forbidExec refuses: a mount cannot be changed here.
func forbidExec(string, bool) error {
	return errors.New("noexec is not supported on this system; leave it out")
}

// replaceStderr makes f the standard error of this process.
func replaceStderr(f *os.File) error { return unix.Dup2(int(f.Fd()), 2) }
