package suite

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// tool runs an outside program within two minutes; a missing one fails.
func tool(t testing.TB, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v; install it with scripts/deps", err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// sampleTree makes a small tree of real shapes: many small files, one of
// several parts, nested directories, an empty file, a symlink, a FIFO, modes and
// times, those of directories too.
func sampleTree(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for i := range 40 {
		dir := filepath.Join(root, "src", string(rune('a'+i%4)), "deep")
		harness.Must(t, os.MkdirAll(dir, 0o755))
		path := filepath.Join(dir, "file"+string(rune('0'+i%10))+string(rune('a'+i/10)))
		harness.Must(t, os.WriteFile(path, harness.Random(uint64(i), i*997), 0o600+os.FileMode(i%2)*0o044))
		stamp := time.Unix(1_600_000_000+int64(i)*1000, int64(i)*1000)
		harness.Must(t, os.Chtimes(path, stamp, stamp))
	}
	harness.Must(t, os.WriteFile(filepath.Join(root, "src", "empty"), nil, 0o644))
	harness.Must(t, os.WriteFile(filepath.Join(root, "src", "script.sh"), []byte("#!/bin/sh\n"), 0o755))
	harness.Must(t, os.WriteFile(filepath.Join(root, "src", "large.bin"), harness.Random(99, 21<<20), 0o640))
	harness.Must(t, os.Symlink("deep/nowhere", filepath.Join(root, "src", "a", "link")))
	harness.Must(t, syscall.Mkfifo(filepath.Join(root, "src", "a", "fifo"), 0o620))
	harness.Must(t, unix.Chmod(filepath.Join(root, "src", "b"), 0o3775))
	for i, name := range []string{"a/link", "a/fifo", "a/deep", "a", "b/deep", "b", "."} {
		stamp := unix.Timespec{Sec: 1_500_000_000 + int64(i)}
		harness.Must(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, "src", name), []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW))
	}
	return filepath.Join(root, "src")
}

// entry is what two trees are compared by.
type entry struct {
	Mode  fs.FileMode
	Size  int64
	Mtime int64  // seconds; 0 for directories
	Hash  string // of a symlink its target
}

// dirTimes reads the times of a tree's directories in whole seconds. They are
// kept where something sets them, not where entries change them.
func dirTimes(t testing.TB, root string) map[string]entry {
	t.Helper()
	all := map[string]entry{}
	for path, e := range tree(t, root) {
		if e.Mode.IsDir() {
			info, err := os.Lstat(filepath.Join(root, path))
			harness.Must(t, err)
			all[path] = entry{Mode: e.Mode, Mtime: info.ModTime().Unix()}
		}
	}
	return all
}

// tree reads a whole tree.
func tree(t testing.TB, root string) map[string]entry {
	t.Helper()
	all := map[string]entry{}
	harness.Must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		e := entry{Mode: info.Mode()}
		if !d.IsDir() {
			e.Size, e.Mtime = info.Size(), info.ModTime().Unix()
			switch info.Mode().Type() {
			case 0:
				e.Hash, err = hashFile(path)
			case fs.ModeSymlink:
				e.Hash, err = os.Readlink(path)
			}
			if err != nil {
				return err
			}
		}
		all[rel] = e
		return nil
	}))
	return all
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// inode returns a file's inode number.
func inode(t testing.TB, path string) uint64 {
	t.Helper()
	info, err := os.Lstat(path)
	harness.Must(t, err)
	return info.Sys().(*syscall.Stat_t).Ino
}
