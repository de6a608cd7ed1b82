package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
)

func directories(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	harness.Must(t, os.MkdirAll(m.Path("a/b/c"), 0o755))
	harness.Write(t, m.Path("a/b/c/f"), []byte("x"))
	harness.WantErrno(t, "mkdir twice", os.Mkdir(m.Path("a"), 0o755), syscall.EEXIST)
	harness.WantErrno(t, "rmdir of a full directory", syscall.Rmdir(m.Path("a/b")), syscall.ENOTEMPTY)
	harness.WantErrno(t, "rmdir of a file", syscall.Rmdir(m.Path("a/b/c/f")), syscall.ENOTDIR)
	harness.WantErrno(t, "unlink of a directory", syscall.Unlink(m.Path("a")), syscall.EISDIR)
	_, err := os.Stat(m.Path("a/b/none"))
	harness.WantErrno(t, "stat of nothing", err, syscall.ENOENT)
	harness.Must(t, os.Remove(m.Path("a/b/c/f")))
	if _, err := os.Stat(m.Path("a/b/c")); err != nil {
		t.Errorf("the directory went with its last file: %v", err)
	}
	harness.Must(t, os.RemoveAll(m.Path("a")))
	if keys := s.Keys(t); len(keys) != 0 {
		t.Errorf("left after rm -r: %q", keys)
	}
}

func largeDirectory(t *testing.T, s *harness.Server) {
	var g errgroup.Group
	g.SetLimit(8)
	files := 2500
	if s.Sandbox != nil { // as many pages of fewer
		s.Sandbox.S3.LimitPages(100)
		files = 250
	}
	var all []string
	for i := range files {
		name := fmt.Sprintf("file-%04d", i)
		all = append(all, name)
		g.Go(func() error { s.Put(t, "big/"+name, []byte(name)); return nil })
	}
	harness.Must(t, g.Wait())
	m := s.Mount(t)
	if got := harness.Names(t, m.Path("big")); !slices.Equal(got, all) {
		t.Fatalf("%d names, want %d", len(got), len(all))
	}
	if s.Sandbox != nil && s.Sandbox.Log.Count("ListObjectsV2") < 3 {
		t.Errorf("the sandbox did not answer in pages: %v", s.Sandbox.Log.Counts())
	}
	harness.Must(t, os.RemoveAll(m.Path("big")))
	if keys := s.Keys(t); len(keys) != 0 {
		t.Errorf("%d objects left after rm -r", len(keys))
	}
}

func renameFiles(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	body := harness.Random(1, 7<<20)
	harness.Write(t, m.Path("a"), body)
	harness.Must(t, os.Chmod(m.Path("a"), 0o640))
	harness.Must(t, os.Rename(m.Path("a"), m.Path("b")))
	harness.Want(t, m.Path("b"), body)
	_, err := os.Stat(m.Path("a"))
	harness.WantErrno(t, "the old name", err, syscall.ENOENT)
	info, err := os.Stat(m.Path("b"))
	harness.Must(t, err)
	if info.Mode() != 0o640 {
		t.Errorf("mode after rename: %v, want 0640", info.Mode())
	}
	harness.Write(t, m.Path("target"), []byte("old"))
	harness.Must(t, os.Rename(m.Path("b"), m.Path("target")))
	harness.Want(t, m.Path("target"), body)
	harness.Must(t, os.Mkdir(m.Path("dir"), 0o755))
	harness.WantErrno(t, "file over a directory", syscall.Rename(m.Path("target"), m.Path("dir")), syscall.EISDIR)
	harness.Must(t, os.Rename(m.Path("target"), m.Path("dir/in")))
	f, err := os.Create(m.Path("open"))
	harness.Must(t, err)
	_, err = f.Write(body[:100])
	harness.Must(t, err)
	harness.Must(t, os.Rename(m.Path("open"), m.Path("moved")))
	_, err = f.Write(body[100:200])
	harness.Must(t, err)
	harness.Must(t, f.Close())
	harness.Want(t, m.Path("moved"), body[:200])
	if keys := s.Keys(t); !slices.Equal(keys, []string{"dir/", "dir/in", "moved"}) {
		t.Errorf("keys %q", keys)
	}
	s.MustBeEncrypted(t)
}

func renameDirectories(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	for i := range 30 {
		path := m.Path("from", fmt.Sprint("d", i%3), fmt.Sprint("f", i))
		harness.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		harness.Write(t, path, harness.Random(uint64(i), i*100))
	}
	before := tree(t, m.Path("from"))
	harness.Must(t, os.Mkdir(m.Path("full"), 0o755))
	harness.Write(t, m.Path("full/x"), nil)
	harness.WantErrno(t, "rename onto a full directory", syscall.Rename(m.Path("from"), m.Path("full")), syscall.ENOTEMPTY)
	name := strings.Repeat("long", 50)
	deep := m.Path("from", name, name, name, name, strings.Repeat("deep", 25))
	harness.Must(t, os.MkdirAll(deep, 0o755))
	keys := s.Keys(t)
	err := syscall.Rename(m.Path("from"), m.Path(name))
	harness.WantErrno(t, "rename that makes a key too long", err, syscall.ENAMETOOLONG)
	if now := s.Keys(t); !slices.Equal(keys, now) {
		t.Errorf("the rename that failed left %q, before it was %q", now, keys)
	}
	harness.Must(t, os.RemoveAll(m.Path("from", name)))
	harness.Must(t, os.Mkdir(m.Path("to"), 0o700)) // is replaced
	harness.Must(t, syscall.Rename(m.Path("from"), m.Path("to")))
	compare(t, before, tree(t, m.Path("to")))
	_, err = os.Stat(m.Path("from"))
	harness.WantErrno(t, "the old directory", err, syscall.ENOENT)
	m.Unmount()
	m = s.Mount(t)
	compare(t, before, tree(t, m.Path("to")))
	s.MustBeEncrypted(t)
}

// compare reports every difference of two trees.
func compare(t testing.TB, want, got map[string]entry) {
	t.Helper()
	for path, e := range want {
		if g, ok := got[path]; !ok {
			t.Errorf("%s is missing", path)
		} else if g != e {
			t.Errorf("%s is %+v, want %+v", path, g, e)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s is too much", path)
		}
	}
}

func impliedDirectories(t *testing.T, s *harness.Server) {
	s.Put(t, "implied/deep/file", []byte("x"))
	s.Put(t, "marked/", nil)
	m := s.Mount(t)
	if got := harness.Names(t, m.Dir); !slices.Equal(got, []string{"implied", "marked"}) {
		t.Errorf("names %q", got)
	}
	if got := harness.Names(t, m.Path("implied")); !slices.Equal(got, []string{"deep"}) {
		t.Errorf("names in implied %q", got)
	}
	harness.Want(t, m.Path("implied/deep/file"), []byte("x"))
	harness.Must(t, os.Remove(m.Path("implied/deep/file")))
	harness.Must(t, os.Remove(m.Path("implied/deep")))
	harness.Must(t, os.Remove(m.Path("marked")))
}

func oddNames(t *testing.T, s *harness.Server) {
	all := []string{" leading", "trailing ", "a+b", "a%20b", "a&b=c", "new\nline", "quote\"'", "tab\t", "tilde~", "back\\slash", "ünïcödé", "日本語", "#?", "..."}
	if s.Name != "sandbox" { // MinIO on a file system refuses these
		all = slices.DeleteFunc(all, func(n string) bool { return n == "back\\slash" || n == "new\nline" || n == "tab\t" })
	}
	m := s.Mount(t)
	for i, name := range all {
		harness.Write(t, m.Path(name), harness.Random(uint64(i), 50))
		harness.Must(t, os.Mkdir(m.Path(name+".d"), 0o755))
		harness.Must(t, os.Rename(m.Path(name), m.Path(name+".d", name)))
		harness.Equal(t, name, s.Get(t, name+".d/"+name), harness.Random(uint64(i), 50))
	}
	m.Unmount()
	m = s.Mount(t)
	for i, name := range all {
		harness.Want(t, m.Path(name+".d", name), harness.Random(uint64(i), 50))
	}
	long := fmt.Sprintf("%0256d", 1)
	harness.WantErrno(t, "a name of 256 bytes", os.WriteFile(m.Path(long), nil, 0o644), syscall.ENAMETOOLONG)
}

func inodeNumbers(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	harness.Must(t, os.MkdirAll(m.Path("d/e"), 0o755))
	harness.Write(t, m.Path("d/e/f"), []byte("x"))
	harness.Write(t, m.Path("g"), []byte("y"))
	paths := []string{"d", "d/e", "d/e/f", "g"}
	before := map[string]uint64{}
	for _, p := range paths {
		before[p] = inode(t, m.Path(p))
	}
	m.Unmount()
	m = s.Mount(t)
	for _, p := range paths {
		if got := inode(t, m.Path(p)); got != before[p] {
			t.Errorf("%s has inode %d after a remount, had %d", p, got, before[p])
		}
	}
}
