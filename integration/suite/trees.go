package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
)

func directories(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	must(t, os.MkdirAll(m.Path("a/b/c"), 0o755))
	write(t, m.Path("a/b/c/f"), []byte("x"))
	wantErrno(t, "mkdir twice", os.Mkdir(m.Path("a"), 0o755), syscall.EEXIST)
	wantErrno(t, "rmdir of a full directory", syscall.Rmdir(m.Path("a/b")), syscall.ENOTEMPTY)
	wantErrno(t, "rmdir of a file", syscall.Rmdir(m.Path("a/b/c/f")), syscall.ENOTDIR)
	wantErrno(t, "unlink of a directory", syscall.Unlink(m.Path("a")), syscall.EISDIR)
	_, err := os.Stat(m.Path("a/b/none"))
	wantErrno(t, "stat of nothing", err, syscall.ENOENT)
	must(t, os.Remove(m.Path("a/b/c/f")))
	if _, err := os.Stat(m.Path("a/b/c")); err != nil {
		t.Errorf("the directory went with its last file: %v", err)
	}
	must(t, os.RemoveAll(m.Path("a")))
	if keys := s.Keys(t); len(keys) != 0 {
		t.Errorf("left after rm -r: %q", keys)
	}
}

func largeDirectory(t *testing.T, s *harness.Server) {
	var g errgroup.Group
	g.SetLimit(8)
	var all []string
	for i := range 2500 {
		name := fmt.Sprintf("file-%04d", i)
		all = append(all, name)
		g.Go(func() error { s.Put(t, "big/"+name, []byte(name)); return nil })
	}
	must(t, g.Wait())
	m := s.Mount(t)
	if got := names(t, m.Path("big")); !slices.Equal(got, all) {
		t.Fatalf("%d names, want %d", len(got), len(all))
	}
	must(t, os.RemoveAll(m.Path("big")))
	if keys := s.Keys(t); len(keys) != 0 {
		t.Errorf("%d objects left after rm -r", len(keys))
	}
}

func renameFiles(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	body := random(1, 7<<20)
	write(t, m.Path("a"), body)
	must(t, os.Chmod(m.Path("a"), 0o640))
	must(t, os.Rename(m.Path("a"), m.Path("b")))
	want(t, m.Path("b"), body)
	_, err := os.Stat(m.Path("a"))
	wantErrno(t, "the old name", err, syscall.ENOENT)
	info, err := os.Stat(m.Path("b"))
	must(t, err)
	if info.Mode() != 0o640 {
		t.Errorf("mode after rename: %v, want 0640", info.Mode())
	}
	write(t, m.Path("target"), []byte("old"))
	must(t, os.Rename(m.Path("b"), m.Path("target")))
	want(t, m.Path("target"), body)
	must(t, os.Mkdir(m.Path("dir"), 0o755))
	wantErrno(t, "file over a directory", syscall.Rename(m.Path("target"), m.Path("dir")), syscall.EISDIR)
	must(t, os.Rename(m.Path("target"), m.Path("dir/in")))
	f, err := os.Create(m.Path("open"))
	must(t, err)
	_, err = f.Write(body[:100])
	must(t, err)
	must(t, os.Rename(m.Path("open"), m.Path("moved")))
	_, err = f.Write(body[100:200])
	must(t, err)
	must(t, f.Close())
	want(t, m.Path("moved"), body[:200])
	if keys := s.Keys(t); !slices.Equal(keys, []string{"dir/", "dir/in", "moved"}) {
		t.Errorf("keys %q", keys)
	}
	s.MustBeEncrypted(t)
}

func renameDirectories(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	for i := range 30 {
		path := m.Path("from", fmt.Sprint("d", i%3), fmt.Sprint("f", i))
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		write(t, path, random(uint64(i), i*100))
	}
	before := tree(t, m.Path("from"))
	must(t, os.Mkdir(m.Path("full"), 0o755))
	write(t, m.Path("full/x"), nil)
	wantErrno(t, "rename onto a full directory", syscall.Rename(m.Path("from"), m.Path("full")), syscall.ENOTEMPTY)
	must(t, os.Rename(m.Path("from"), m.Path("to")))
	compare(t, before, tree(t, m.Path("to")))
	_, err := os.Stat(m.Path("from"))
	wantErrno(t, "the old directory", err, syscall.ENOENT)
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
	if got := names(t, m.Dir); !slices.Equal(got, []string{"implied", "marked"}) {
		t.Errorf("names %q", got)
	}
	if got := names(t, m.Path("implied")); !slices.Equal(got, []string{"deep"}) {
		t.Errorf("names in implied %q", got)
	}
	want(t, m.Path("implied/deep/file"), []byte("x"))
	must(t, os.Remove(m.Path("implied/deep/file")))
	must(t, os.Remove(m.Path("implied/deep")))
	must(t, os.Remove(m.Path("marked")))
}

func oddNames(t *testing.T, s *harness.Server) {
	all := []string{" leading", "trailing ", "a+b", "a%20b", "a&b=c", "new\nline", "quote\"'", "tab\t", "tilde~", "back\\slash", "ünïcödé", "日本語", "#?", "..."}
	if s.Name != "sandbox" { // MinIO on a file system refuses these
		all = slices.DeleteFunc(all, func(n string) bool { return n == "back\\slash" || n == "new\nline" || n == "tab\t" })
	}
	m := s.Mount(t)
	for i, name := range all {
		write(t, m.Path(name), random(uint64(i), 50))
		must(t, os.Mkdir(m.Path(name+".d"), 0o755))
		must(t, os.Rename(m.Path(name), m.Path(name+".d", name)))
		equal(t, name, s.Get(t, name+".d/"+name), random(uint64(i), 50))
	}
	m.Unmount()
	m = s.Mount(t)
	for i, name := range all {
		want(t, m.Path(name+".d", name), random(uint64(i), 50))
	}
	long := fmt.Sprintf("%0256d", 1)
	wantErrno(t, "a name of 256 bytes", os.WriteFile(m.Path(long), nil, 0o644), syscall.ENAMETOOLONG)
}

func inodeNumbers(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	must(t, os.MkdirAll(m.Path("d/e"), 0o755))
	write(t, m.Path("d/e/f"), []byte("x"))
	write(t, m.Path("g"), []byte("y"))
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
