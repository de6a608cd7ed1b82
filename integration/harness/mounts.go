package harness

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Mounts returns the FUSE mounts of this machine: directory to file system type.
func Mounts() map[string]string {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil
	}
	defer f.Close()
	found := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) > 2 && strings.HasPrefix(fields[2], "fuse") && fields[2] != "fusectl" {
			found[fields[1]] = fields[2]
		}
	}
	return found
}

// mounted says whether dir is a FUSE mount point now.
func mounted(dir string) bool {
	_, ok := Mounts()[dir]
	return ok
}

// abortConnection frees every process that hangs in the FUSE connection of
// the mount whose device number is dev.
func abortConnection(dev uint64) error {
	const control = "/sys/fs/fuse/connections"
	if _, err := os.Stat(control); err != nil {
		return err
	}
	if entries, _ := os.ReadDir(control); len(entries) == 0 {
		_ = syscall.Mount("fusectl", control, "fusectl", 0, "")
	}
	minor := (dev & 0xff) | ((dev >> 12) & 0xffffff00)
	return os.WriteFile(filepath.Join(control, fmt.Sprint(minor), "abort"), []byte("1"), 0o200)
}

// device returns the device number of a mounted directory.
func device(t testing.TB, dir string) uint64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		t.Fatalf("stat of the mount %s: %v", dir, err)
	}
	return uint64(st.Dev)
}
