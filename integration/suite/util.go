package suite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// random returns n bytes that no compressor shortens, the same for one seed.
func random(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write writes a whole file and closes it.
func write(t testing.TB, path string, b []byte) {
	t.Helper()
	must(t, os.WriteFile(path, b, 0o644))
}

// want reads a file and compares it with b.
func want(t testing.TB, path string, b []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	must(t, err)
	equal(t, path, got, b)
}

// equal compares contents without printing them.
func equal(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	t.Fatalf("%s: %d bytes, want %d; first difference at %d", what, len(got), len(want), at)
}

// wantErrno fails unless err is the errno.
func wantErrno(t testing.TB, what string, err error, errno syscall.Errno) {
	t.Helper()
	if !errors.Is(err, errno) {
		t.Errorf("%s: %v, want %v", what, err, errno)
	}
}

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
// several parts, nested directories, an empty file, modes and times.
func sampleTree(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for i := range 40 {
		dir := filepath.Join(root, "src", string(rune('a'+i%4)), "deep")
		must(t, os.MkdirAll(dir, 0o755))
		path := filepath.Join(dir, "file"+string(rune('0'+i%10))+string(rune('a'+i/10)))
		must(t, os.WriteFile(path, random(uint64(i), i*997), 0o600+os.FileMode(i%2)*0o044))
		stamp := time.Unix(1_600_000_000+int64(i)*1000, int64(i)*1000)
		must(t, os.Chtimes(path, stamp, stamp))
	}
	must(t, os.WriteFile(filepath.Join(root, "src", "empty"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(root, "src", "script.sh"), []byte("#!/bin/sh\n"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "src", "large.bin"), random(99, 21<<20), 0o640))
	return filepath.Join(root, "src")
}

// entry is what two trees are compared by.
type entry struct {
	Mode  fs.FileMode
	Size  int64
	Mtime int64 // seconds; 0 for directories
	Hash  string
}

// tree reads a whole tree.
func tree(t testing.TB, root string) map[string]entry {
	t.Helper()
	all := map[string]entry{}
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
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
			if e.Hash, err = hashFile(path); err != nil {
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

// names returns the sorted names in a directory.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// inode returns a file's inode number.
func inode(t testing.TB, path string) uint64 {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Ino
}
