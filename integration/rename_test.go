package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// fill makes n small files in some directories below dir, behind the mounts'
// backs, and returns their names below it. The content of each is its name.
func fill(t *testing.T, s *harness.Server, dir string, n int) (names []string) {
	t.Helper()
	s.Put(t, dir+"/", nil)
	var g errgroup.Group
	g.SetLimit(32)
	for i := range n {
		name := fmt.Sprintf("f%04d", i)
		if i%4 == 0 {
			name = fmt.Sprintf("sub%d/%s", i%3, name)
		}
		names = append(names, name)
		g.Go(func() error {
			s.Put(t, dir+"/"+name, []byte(name))
			return nil
		})
	}
	harness.Must(t, g.Wait())
	slices.Sort(names)
	return names
}

// filesBelow returns the names of the objects below dir, markers left out.
func filesBelow(t *testing.T, s *harness.Server, dir string) (names []string) {
	t.Helper()
	for _, key := range s.Keys(t) {
		if name, ok := strings.CutPrefix(key, dir+"/"); ok && !strings.HasSuffix(key, "/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// wantFiles fails unless exactly these files are below dir.
func wantFiles(t *testing.T, s *harness.Server, dir string, want []string) {
	t.Helper()
	if d := cmp.Diff(want, filesBelow(t, s, dir)); d != "" {
		t.Errorf("below %s: %s", dir, d)
	}
}

// wantTree fails unless m shows exactly these files below dir, each with its
// name as content.
func wantTree(t *testing.T, m *harness.Mount, dir string, want []string) {
	t.Helper()
	var got []string
	harness.Must(t, filepath.WalkDir(m.Path(dir), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(m.Path(dir), path)
		got = append(got, name)
		harness.Want(t, path, []byte(name))
		return err
	}))
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the mount shows below %s: %s", dir, d)
	}
}

func TestRenameOfADirectoryWithThousandsOfFiles(t *testing.T) {
	t.Parallel()
	const n = 2000
	s := sandboxed(t)
	names := fill(t, s, "big", n)
	m := s.Mount(t, "--attr-ttl", "1m")
	harness.Must(t, os.Rename(m.Path("big"), m.Path("moved")))
	counts := s.Sandbox.Log.Counts()
	if counts["CopyObject"] != n+1 || counts["DeleteObject"] != n+1 || counts["HeadObject"] > n+10 || counts["ListObjectsV2"] > 10 {
		t.Errorf("%d files were renamed by %v", n, counts)
	}
	wantFiles(t, s, "moved", names)
	if left := s.Keys(t); slices.ContainsFunc(left, func(key string) bool { return !strings.HasPrefix(key, "moved/") }) {
		t.Errorf("%d keys, of %q to %q", len(left), left[0], left[len(left)-1])
	}
	s.Sandbox.Log.Reset()
	for _, sub := range []string{"", "sub0", "sub1", "sub2"} {
		_, err := os.ReadDir(m.Path("moved", sub))
		harness.Must(t, err)
	}
	if heads := s.Sandbox.Log.Count("HeadObject"); heads > 10 {
		t.Errorf("the copies' attributes are known, and ls asked for %d", heads)
	}
	for _, name := range names[:20] {
		harness.Want(t, m.Path("moved", name), []byte(name))
	}
}

// crash begins to rename from to to, and kills the mount when more than passed
// requests of the operation have arrived: the last one is never served.
func crash(t *testing.T, s *harness.Server, m *harness.Mount, op string, passed int, from, to string) {
	t.Helper()
	s.Sandbox.Log.Reset()
	rule := s.Sandbox.Faults.Add(wire.Fault{Op: op, Skip: passed, Kind: wire.Hang})
	done := async(func() error { return syscall.Rename(m.Path(from), m.Path(to)) })
	awaitOp(t, s, op, passed+1)
	m.Kill()
	if await(t, "rename", done) == nil {
		t.Error("a rename that was cut off succeeded")
	}
	rule.Remove()
}

func settledAfterACrash(t *testing.T) {
	t.Parallel()
	for _, versioning := range []string{"", "Enabled"} {
		t.Run("versioning "+versioning, func(t *testing.T) {
			t.Parallel()
			s := sandboxed(t)
			setVersioning(t, s, versioning)
			crashes(t, s)
		})
	}
}

// crashes has renames end at several points, each with a mount of its own.
func crashes(t *testing.T, s *harness.Server) {
	t.Helper()
	m := s.Mount(t, "--attr-ttl", "0s")
	for _, c := range []struct {
		op       string
		passed   int
		complete bool // what the next mount makes of it
	}{
		{"CopyObject", 0, false}, {"CopyObject", 13, false}, {"CopyObject", 25, false}, // the last is the directory itself
		{"DeleteObject", 0, true}, {"DeleteObject", 17, true},
	} {
		from, to := fmt.Sprintf("%s-%d", c.op, c.passed), fmt.Sprintf("new-%s-%d", c.op, c.passed)
		names := fill(t, s, from, 25)
		crash(t, s, m, c.op, c.passed, from, to)
		theirs := "theirs"
		s.Put(t, to+"/"+theirs, []byte(theirs)) // somebody else's is left alone
		if c.passed == 13 {
			before := s.Keys(t)
			s.OtherHost().Mount(t).Unmount()
			if d := cmp.Diff(before, s.Keys(t)); d != "" {
				t.Errorf("another identity touched it: %s", d)
			}
		}
		m = s.Mount(t, "--attr-ttl", "0s")
		if !c.complete {
			wantTree(t, m, from, names)
			wantTree(t, m, to, []string{theirs})
			harness.Must(t, os.RemoveAll(m.Path(to)))
			harness.Must(t, syscall.Rename(m.Path(from), m.Path(to))) // the same once more
		} else {
			harness.Must(t, os.Remove(m.Path(to, theirs)))
		}
		wantTree(t, m, to, names)
		wantFiles(t, s, from, nil)
		if _, err := os.Stat(m.Path(from)); !os.IsNotExist(err) {
			t.Errorf("%s: %v", from, err)
		}
	}
	s.MustBeEncrypted(t)
}

// What was changed while nobody was there to see is kept under both names.
func settlingTakesTheLastOfNothing(t *testing.T) {
	t.Parallel()
	s := sandboxed(t)
	// So many have arrived that more than four have been answered, whatever is under way.
	for op, passed := range map[string]int{"CopyObject": 20, "DeleteObject": 16} {
		t.Run(op, func(t *testing.T) {
			from, to := "a-"+op, "b-"+op
			m := s.Mount(t, "--attr-ttl", "0s")
			names := fill(t, s, from, 24)
			crash(t, s, m, op, passed, from, to)
			var both []string // files that are under either name now
			copies := filesBelow(t, s, to)
			for _, name := range filesBelow(t, s, from) {
				if slices.Contains(copies, name) {
					both = append(both, name)
				}
			}
			if len(both) < 4 {
				t.Fatalf("only %q are under both names", both)
			}
			s.Delete(t, from+"/"+both[0])
			s.Delete(t, to+"/"+both[1])
			s.Put(t, from+"/"+both[2], []byte("their source"))
			s.Put(t, to+"/"+both[3], []byte("their copy"))
			m = s.Mount(t, "--attr-ttl", "0s")
			harness.Want(t, m.Path(to, both[0]), []byte(both[0]))
			harness.Want(t, m.Path(from, both[1]), []byte(both[1]))
			harness.Want(t, m.Path(from, both[2]), []byte("their source"))
			harness.Want(t, m.Path(to, both[3]), []byte("their copy"))
			for _, name := range names {
				_, one := os.Stat(m.Path(from, name))
				_, two := os.Stat(m.Path(to, name))
				if one != nil && two != nil {
					t.Errorf("%s is lost: %v, %v", name, one, two)
				}
			}
		})
	}
}

func TestRenameOfADirectoryWithLostAnswers(t *testing.T) {
	t.Parallel()
	s := sandboxed(t)
	m := s.Mount(t, "--attr-ttl", "0s")
	for i, fault := range []wire.Fault{
		{Op: "CopyObject", Kind: wire.ResetBefore}, {Op: "CopyObject", Kind: wire.ResetAfter},
		{Op: "CopyObject", Kind: wire.Answer}, {Op: "CopyObject", Kind: wire.AnswerAfter},
		{Op: "DeleteObject", Kind: wire.ResetBefore}, {Op: "DeleteObject", Kind: wire.ResetAfter},
		{Op: "DeleteObject", Kind: wire.Answer}, {Op: "DeleteObject", Kind: wire.AnswerAfter},
	} {
		from, to := fmt.Sprintf("from%d", i), fmt.Sprintf("to%d", i)
		names := fill(t, s, from, 12)
		fault.Skip, fault.Times = 3, 3
		rule := s.Sandbox.Faults.Add(fault)
		harness.Must(t, os.Rename(m.Path(from), m.Path(to)))
		if rule.Hits() == 0 {
			t.Errorf("%v did not happen", fault)
		}
		rule.Remove()
		wantTree(t, m, to, names)
		wantFiles(t, s, from, nil)
	}
}

func TestRenameOfADirectoryThatFails(t *testing.T) {
	t.Parallel()
	s := sandboxed(t)
	m := s.Mount(t, "--attr-ttl", "0s")
	refuse := func(op string, passed int) (remove func()) {
		return s.Sandbox.Faults.Add(wire.Fault{Op: op, Skip: passed, Kind: wire.Answer, Status: 403, Code: "AccessDenied"}).Remove
	}
	t.Run("in the middle of copying", func(t *testing.T) {
		names := fill(t, s, "a", 30)
		harness.Must(t, os.Mkdir(m.Path("b"), 0o711))
		remove := refuse("CopyObject", 20)
		harness.WantErrno(t, "rename", syscall.Rename(m.Path("a"), m.Path("b")), syscall.EACCES)
		remove()
		wantTree(t, m, "a", names)
		wantTree(t, m, "b", nil)
		if info, err := os.Stat(m.Path("b")); err != nil || info.Mode().Perm() != 0o711 {
			t.Errorf("b: %v, %v", info, err)
		}
		harness.Must(t, syscall.Rename(m.Path("a"), m.Path("b")))
		wantTree(t, m, "b", names)
	})
	t.Run("in the middle of deleting", func(t *testing.T) {
		names := fill(t, s, "c", 30)
		remove := refuse("DeleteObject", 20)
		harness.WantErrno(t, "rename", syscall.Rename(m.Path("c"), m.Path("d")), syscall.EACCES)
		remove()
		wantTree(t, m, "d", names)
		harness.Must(t, syscall.Rename(m.Path("c"), m.Path("d"))) // goes on where it stopped
		wantTree(t, m, "d", names)
		wantFiles(t, s, "c", nil)
		harness.Write(t, m.Path("d", names[0]), []byte("written afterwards"))
		harness.Equal(t, "object", s.Get(t, "d/"+names[0]), []byte("written afterwards"))
	})
	t.Run("because somebody else is there", func(t *testing.T) {
		names := fill(t, s, "e", 30)
		rule := s.Sandbox.Faults.Add(wire.Fault{Op: "CopyObject", Skip: 5, Kind: wire.Hang})
		s.Sandbox.Log.Reset()
		done := async(func() error { return syscall.Rename(m.Path("e"), m.Path("f")) })
		awaitOp(t, s, "CopyObject", 6)
		s.Put(t, "f/"+names[29], []byte("theirs"))
		rule.Remove()
		harness.WantErrno(t, "rename", await(t, "rename", done), syscall.EEXIST)
		wantTree(t, m, "e", names)
		harness.Want(t, m.Path("f", names[29]), []byte("theirs"))
		wantFiles(t, s, "f", names[29:])
	})
}

func renamesAreSettled(t *testing.T) {
	t.Run("after a crash", settledAfterACrash)
	t.Run("the last of nothing goes", settlingTakesTheLastOfNothing)
}
