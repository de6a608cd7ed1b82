//go:build !linux

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mounts returns the kernel's table of mounts, bottom first.
func mounts() ([]mountEntry, error) {
	n, err := unix.Getfsstat(nil, unix.MNT_NOWAIT)
	if err != nil {
		return nil, fmt.Errorf("read the table of mounts: %w", err)
	}
	stats := make([]unix.Statfs_t, n)
	if n, err = unix.Getfsstat(stats, unix.MNT_NOWAIT); err != nil {
		return nil, fmt.Errorf("read the table of mounts: %w", err)
	}
	var all []mountEntry
	for _, s := range stats[:n] {
		m := mountEntry{
			dir:    unix.ByteSliceToString(s.Mntonname[:]),
			kind:   unix.ByteSliceToString(s.Fstypename[:]),
			source: unix.ByteSliceToString(s.Mntfromname[:]),
		}
		if m.kind == "macfuse" || m.kind == "osxfuse" { // which name no subtype
			m.kind = mountKind
		}
		all = append(all, m)
	}
	return all, nil
}

// detach removes the mount from the tree at once, whoever uses it.
func detach(dir string) error { return unix.Unmount(dir, unix.MNT_FORCE) }

// holders names nobody: there is no portable way to find them.
func holders(string) []string { return nil }

// checkFUSE leaves it to the mount to say what is missing.
func checkFUSE(bool) error { return nil }

// localChecks looks for macFUSE.
func localChecks(bool) []check {
	c := check{Name: "macFUSE", State: stateOK, Detail: "/Library/Filesystems/macfuse.fs"}
	if _, err := os.Stat(c.Detail); err != nil {
		c.fail("macFUSE is not installed", "install it from macfuse.io")
	}
	return []check{c}
}
