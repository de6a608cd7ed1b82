package suite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// Sizes of files that are written in conflicts: one request, and several of the
// smallest parts.
const (
	oneRequest = 100
	someParts  = 11 << 20
)

// Hosts has several hosts work on one bucket: one that always asks, another one
// like it, and one that believes for long what it knows.
func Hosts(t *testing.T, s *harness.Server) {
	a, b := s.Mount(t, "--attr-ttl", "0s", "--part-size", "5MiB"), s.OtherHost().Mount(t, "--attr-ttl", "0s")
	late := s.OtherHost().Mount(t, "--attr-ttl", "1h")
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s *harness.Server, a, b, late *harness.Mount)
	}{
		{"a new open sees what was closed elsewhere", newOpen},
		{"a reader follows a local writer", follow},
		{"mkdir has one winner", mkdirOnce},
		{"a commit keeps both", commitKeeps},
		{"two closes at once keep both", closesKeep},
		{"a rename keeps both", renameKeeps},
		{"exclusive means exclusive", exclusive},
		{"deleted stays deleted", deletedElsewhere},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, s, a, b, late) })
	}
	s.MustBeEncrypted(t)
}

func newOpen(t *testing.T, _ *harness.Server, a, b, _ *harness.Mount) {
	old := harness.Random(1, 6<<20)
	harness.Write(t, a.Path("seen"), old)
	harness.Want(t, b.Path("seen"), old)
	f, err := os.Open(b.Path("seen"))
	harness.Must(t, err)
	defer f.Close()
	number := inode(t, b.Path("seen"))
	for i := range 3 {
		body := harness.Random(uint64(i), 100<<10+i)
		harness.Write(t, a.Path("seen"), body)
		harness.Want(t, b.Path("seen"), body)
	}
	if now := inode(t, b.Path("seen")); now != number {
		t.Errorf("the inode number was %d and is %d", number, now)
	}
	if now, err := f.Stat(); err != nil || now.Size() != int64(len(old)) {
		t.Errorf("the old descriptor shows %v, %v", now, err)
	}
	got := make([]byte, 1000)
	if _, err := f.ReadAt(got, 5<<20); err == nil {
		harness.Equal(t, "the old version through the old descriptor", got, old[5<<20:5<<20+1000])
	} else {
		harness.WantErrno(t, "read of a replaced object", err, syscall.ESTALE)
	}
}

// A writer that closes and opens again moves what the reader of the same mount
// sees, however large the file is.
func follow(t *testing.T, _ *harness.Server, a, b, _ *harness.Mount) {
	all := harness.Random(1, 5<<20+1)
	harness.Write(t, a.Path("log"), all)
	r, err := os.Open(a.Path("log"))
	harness.Must(t, err)
	defer r.Close()
	got, err := io.ReadAll(r)
	harness.Must(t, err)
	for i := range 3 {
		line := harness.Random(uint64(i), 100)
		all = append(all, line...)
		w, err := os.OpenFile(a.Path("log"), os.O_WRONLY|os.O_APPEND, 0)
		harness.Must(t, err)
		_, err = w.Write(line)
		harness.Must(t, err)
		harness.Must(t, w.Close())
		more, err := io.ReadAll(r)
		harness.Must(t, err)
		got = append(got, more...)
		harness.Equal(t, "what the reader saw", got, all)
		if info, err := r.Stat(); err != nil || info.Size() != int64(len(all)) {
			t.Errorf("the reader's descriptor shows %v, %v", info, err)
		}
	}
	harness.Want(t, b.Path("log"), all)
}

func mkdirOnce(t *testing.T, _ *harness.Server, a, b, _ *harness.Mount) { MkdirOnce(t, a, b, 10) }

// MkdirOnce has two hosts make n directories at the same moment.
func MkdirOnce(t *testing.T, a, b *harness.Mount, n int) {
	for i := range n {
		name := fmt.Sprint("lock", i)
		var won atomic.Int32
		var g errgroup.Group
		for _, m := range []*harness.Mount{a, b} {
			g.Go(func() error {
				err := os.Mkdir(m.Path(name), 0o755)
				if err == nil {
					won.Add(1)
				} else if !os.IsExist(err) {
					return err
				}
				return nil
			})
		}
		harness.Must(t, g.Wait())
		if n := won.Load(); n != 1 {
			t.Errorf("%d hosts made %s", n, name)
		}
	}
}

// Conflicts returns the keys of what was kept beside name.
func Conflicts(t testing.TB, s *harness.Server, name string) []string {
	t.Helper()
	var kept []string
	for _, key := range s.Keys(t) {
		if strings.HasPrefix(key, name+".conflict-") {
			kept = append(kept, key)
		}
	}
	return kept
}

// wantBoth fails unless name has ours and theirs lies beside it.
func wantBoth(t *testing.T, s *harness.Server, name string, ours, theirs []byte) {
	t.Helper()
	harness.Equal(t, name, s.Get(t, name), ours)
	kept := Conflicts(t, s, name)
	if len(kept) != 1 {
		t.Fatalf("kept beside %s: %q", name, kept)
	}
	harness.Equal(t, kept[0], s.Get(t, kept[0]), theirs)
}

// openWith opens a file, and writes body to it that is committed by close.
func openWith(t *testing.T, path string, flags int, body []byte) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|flags, 0o644)
	harness.Must(t, err)
	_, err = f.Write(body)
	harness.Must(t, err)
	return f
}

func commitKeeps(t *testing.T, s *harness.Server, a, b, _ *harness.Mount) {
	for _, size := range []int{oneRequest, someParts} {
		ours, theirs := harness.Random(1, size), harness.Random(2, 1000)
		harness.Write(t, a.Path("f"), []byte("base"))
		f := openWith(t, a.Path("f"), os.O_TRUNC, ours)
		g := openWith(t, a.Path("new"), os.O_CREATE, ours)
		h := openWith(t, a.Path("gone"), os.O_CREATE, ours[:oneRequest])
		harness.Must(t, h.Sync())
		_, err := h.WriteString("more")
		harness.Must(t, err)
		harness.Write(t, b.Path("f"), theirs)
		harness.Write(t, b.Path("new"), theirs)
		harness.Must(t, os.Remove(b.Path("gone")))
		harness.Must(t, errors.Join(f.Close(), g.Close(), h.Close()))
		wantBoth(t, s, "f", ours, theirs)
		wantBoth(t, s, "new", ours, theirs)
		harness.Equal(t, "what was deleted elsewhere", s.Get(t, "gone"), append(ours[:oneRequest:oneRequest], "more"...))
		for _, name := range append(append(Conflicts(t, s, "f"), Conflicts(t, s, "new")...), "f", "new", "gone") {
			harness.Must(t, os.Remove(b.Path(name)))
		}
	}
}

// Whoever is faster, both are there in the end.
func closesKeep(t *testing.T, s *harness.Server, a, b, _ *harness.Mount) {
	for i := range 10 {
		name := fmt.Sprint("race-", i)
		want := []string{name + " of a", name + " of b"}
		f := openWith(t, a.Path(name), os.O_CREATE, []byte(want[0]))
		h := openWith(t, b.Path(name), os.O_CREATE, []byte(want[1]))
		var g errgroup.Group
		g.Go(f.Close)
		g.Go(h.Close)
		harness.Must(t, g.Wait())
		var got []string
		for _, key := range append(Conflicts(t, s, name), name) {
			got = append(got, string(s.Get(t, key)))
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: left are %q", name, got)
		}
	}
}

func renameKeeps(t *testing.T, s *harness.Server, a, _, late *harness.Mount) {
	for _, target := range []string{"replaced", "appeared"} {
		harness.Write(t, late.Path("source"), []byte("ours"))
		if target == "replaced" {
			harness.Write(t, late.Path(target), []byte("base"))
		} else if _, err := os.Stat(late.Path(target)); !os.IsNotExist(err) {
			t.Fatal(err)
		}
		harness.Write(t, a.Path(target), []byte("theirs"))
		err := os.Rename(late.Path("source"), late.Path(target))
		harness.Must(t, err)
		wantBoth(t, s, target, []byte("ours"), []byte("theirs"))
		harness.Want(t, a.Path(target), []byte("ours"))
		if _, err := os.Stat(a.Path("source")); !os.IsNotExist(err) {
			t.Errorf("the source: %v", err)
		}
	}
	harness.Write(t, late.Path("source"), []byte("ours"))
	harness.Write(t, a.Path("taken"), []byte("theirs"))
	err := unix.Renameat2(unix.AT_FDCWD, late.Path("source"), unix.AT_FDCWD, late.Path("taken"), unix.RENAME_NOREPLACE)
	harness.WantErrno(t, "rename without replacing", err, syscall.EEXIST)
	harness.Equal(t, "taken", s.Get(t, "taken"), []byte("theirs"))
	harness.Equal(t, "source", s.Get(t, "source"), []byte("ours"))
}

func exclusive(t *testing.T, s *harness.Server, a, b, _ *harness.Mount) {
	f := openWith(t, a.Path("excl"), os.O_CREATE|os.O_EXCL, []byte("ours"))
	harness.Write(t, b.Path("excl"), []byte("theirs"))
	harness.WantErrno(t, "close of the loser", f.Close(), syscall.ESTALE)
	harness.Equal(t, "excl", s.Get(t, "excl"), []byte("theirs"))
	if kept := Conflicts(t, s, "excl"); len(kept) > 0 {
		t.Errorf("kept beside it: %q", kept)
	}
	harness.Want(t, a.Path("excl"), []byte("theirs"))
}

// Open files that lost their names are readable and writable, and never come
// back, whoever takes the name.
func deletedElsewhere(t *testing.T, s *harness.Server, a, b, _ *harness.Mount) {
	for _, size := range []int{1000, 300 << 10} {
		old, ours := harness.Random(1, size), harness.Random(2, size)
		f, err := os.OpenFile(a.Path("open"), os.O_RDWR|os.O_CREATE, 0o644)
		harness.Must(t, err)
		_, err = f.Write(old)
		harness.Must(t, err)
		harness.Must(t, f.Sync())
		harness.Write(t, a.Path("over"), ours)
		harness.Must(t, os.Rename(a.Path("over"), a.Path("open")))
		harness.Must(t, os.Remove(b.Path("open")))
		harness.Write(t, b.Path("open"), []byte("theirs"))
		got := make([]byte, size)
		_, err = f.ReadAt(got, 0)
		harness.Must(t, err)
		harness.Equal(t, "an open file that lost its name", got, old)
		_, err = f.WriteAt(ours, 0)
		harness.Must(t, err)
		harness.Must(t, f.Close())
		harness.Equal(t, "open", s.Get(t, "open"), []byte("theirs"))

		harness.Write(t, a.Path("read"), old)
		r, err := os.Open(b.Path("read"))
		harness.Must(t, err)
		harness.Must(t, os.Remove(a.Path("read")))
		if _, err = r.ReadAt(got, 0); err == nil {
			harness.Equal(t, "a file that was deleted elsewhere", got, old)
		} else {
			harness.WantErrno(t, "read of a file that was deleted elsewhere", err, syscall.ESTALE)
		}
		harness.Must(t, r.Close())
		harness.Must(t, os.Remove(b.Path("open")))
		for _, key := range s.Keys(t) {
			if key == "open" || key == "over" || key == "read" || strings.Contains(key, "/open/") {
				t.Errorf("%s came back", key)
			}
		}
	}
}
