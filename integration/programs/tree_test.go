package programs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// makeBlobs makes a directory that all scripts read from: files named by their
// size, and a tree with whatever a tree can have.
func makeBlobs(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, size := range map[string]int{"100K": 100 << 10, "1M": 1 << 20, "9M": 9 << 20} {
		harness.Write(t, filepath.Join(root, name), harness.Random(uint64(size), size))
	}
	tree := filepath.Join(root, "tree")
	for i, f := range []struct {
		name string
		size int
		mode os.FileMode
	}{
		{"a/small", 10, 0o644}, {"a/executable", 3000, 0o755}, {"a/ünïcödé name", 70_000, 0o400}, {"a/suid", 100, 0o755 | os.ModeSetuid},
		{"b/blob", 6 << 20, 0o640}, {"c/deep/er/file", 65_536, 0o664}, {"empty", 0, 0o600},
	} {
		path := filepath.Join(tree, f.name)
		harness.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		harness.Write(t, path, harness.Random(uint64(i), f.size))
		harness.Must(t, os.Chown(path, 1000+i, 2000+i))
		harness.Must(t, os.Chmod(path, f.mode))
		harness.Must(t, syscall.Setxattr(path, "user.number", fmt.Append(nil, "number ", i), 0))
	}
	harness.Must(t, os.Chmod(filepath.Join(tree, "c"), 0o1777|os.ModeSticky))
	harness.Must(t, os.Symlink("../a/small", filepath.Join(tree, "b/link")))
	harness.Must(t, os.Symlink("nowhere", filepath.Join(tree, "dangling")))
	harness.Must(t, syscall.Mkfifo(filepath.Join(tree, "fifo"), 0o620))
	second := int64(1_500_000_000)
	harness.Must(t, filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if second++; err != nil || d.Type() == fs.ModeSymlink {
			return err
		}
		stamp := time.Unix(second, 123_456_789)
		return os.Chtimes(path, stamp, stamp)
	}))
	return root
}

// entry is what two trees are compared by. What times are kept is for the
// scripts to say, which print those that they set.
type entry struct {
	mode     fs.FileMode
	uid, gid uint32
	size     int64 // 0 of directories
	content  string
}

// compare reports how the directory that the script made below got differs
// from the one below want.
func compare(t *testing.T, want, got string, s script) {
	t.Helper()
	wanted, found := entries(t, want, s), entries(t, got, s)
	for path, w := range wanted {
		if g, ok := found[path]; !ok {
			t.Errorf("%s is missing", path)
		} else if g != w {
			t.Errorf("%s is %+v, in a plain directory %+v", path, g, w)
		}
		delete(found, path)
	}
	for path := range found {
		t.Errorf("%s is too much", path)
	}
}

// entries reads the script's tree below root.
func entries(t *testing.T, root string, s script) map[string]entry {
	t.Helper()
	all := map[string]entry{}
	harness.Must(t, filepath.WalkDir(filepath.Join(root, s.name), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, pattern := range s.differs {
			if ok, err := filepath.Match(pattern, rel); err != nil || !ok {
				continue
			}
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		all[rel], err = entryOf(path, d)
		return err
	}))
	return all
}

func entryOf(path string, d fs.DirEntry) (entry, error) {
	info, err := d.Info()
	if err != nil {
		return entry{}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	e := entry{mode: info.Mode(), uid: st.Uid, gid: st.Gid}
	switch {
	case info.Mode().IsRegular():
		body, err := os.ReadFile(path)
		if err != nil {
			return entry{}, err
		}
		sum := sha256.Sum256(body)
		e.size, e.content = info.Size(), hex.EncodeToString(sum[:])
	case info.Mode().Type() == fs.ModeSymlink:
		e.content, err = os.Readlink(path)
	}
	return e, err
}
