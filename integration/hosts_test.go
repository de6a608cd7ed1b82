package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/integration/suite"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// TestHosts runs in every mode what several hosts do to one bucket.
func TestHosts(t *testing.T) {
	for _, mode := range []harness.Mode{harness.SSE, harness.Envelope} {
		t.Run(string(mode), func(t *testing.T) {
			suite.Hosts(t, harness.Sandbox(t).In(t, mode))
		})
	}
}

// TestConflicts lets somebody else be faster, in every way that S3 tells of it.
func TestConflicts(t *testing.T) {
	for _, mode := range []harness.Mode{harness.SSE, harness.Envelope} {
		t.Run(string(mode), func(t *testing.T) {
			s := harness.Sandbox(t).In(t, mode)
			keep := s.Mount(t, "--attr-ttl", "1h", "--part-size", "5MiB")
			fail := s.OtherHost().Mount(t, "--on-conflict", "fail", "--strict-excl", "--part-size", "5MiB")
			over := s.OtherHost().Mount(t, "--on-conflict", "overwrite", "--strict-excl", "--part-size", "5MiB")
			t.Run("policies", func(t *testing.T) { policies(t, s, fail, over) })
			t.Run("answers get lost", func(t *testing.T) { lostAnswers(t, s, keep) })
			t.Run("two requests meet", func(t *testing.T) { requestsMeet(t, s, keep) })
			t.Run("strict exclusive creation", func(t *testing.T) { strictExcl(t, s, fail, over) })
			t.Run("attributes of a replaced file", func(t *testing.T) { staleAttributes(t, s, keep) })
			t.Run("a directory of that name", func(t *testing.T) { directoryAppears(t, s, keep, over) })
			t.Run("unlink of a replaced file", func(t *testing.T) { staleUnlink(t, s, keep) })
		})
	}
}

// Sizes of files: one request, and several of the smallest parts.
const (
	oneRequest = 100
	someParts  = 11 << 20
)

// written opens a file with the flags and writes body, which close commits.
func written(t *testing.T, path string, flags int, body []byte) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|flags, 0o644)
	harness.Must(t, err)
	_, err = f.Write(body)
	harness.Must(t, err)
	return f
}

func policies(t *testing.T, s *harness.Server, fail, over *harness.Mount) {
	for _, size := range []int{oneRequest, someParts} {
		ours := harness.Random(1, size)
		for m, want := range map[*harness.Mount][]byte{fail: []byte("theirs"), over: ours} {
			name := fmt.Sprint("policy-", size)
			f := written(t, m.Path(name), os.O_WRONLY, ours)
			s.Put(t, name, []byte("theirs"))
			if err := f.Close(); m == fail {
				harness.WantErrno(t, "close", err, syscall.ESTALE)
			} else {
				harness.Must(t, err)
			}
			harness.Equal(t, name, s.Get(t, name), want)
			if kept := suite.Conflicts(t, s, name); len(kept) > 0 {
				t.Errorf("kept are %q", kept)
			}
			s.Delete(t, name)
		}
	}
	harness.Write(t, fail.Path("from"), []byte("ours"))
	if _, err := os.Stat(fail.Path("to")); !os.IsNotExist(err) {
		t.Fatal(err)
	}
	hang := s.Sandbox.Faults.Add(wire.Fault{Op: "CopyObject", Times: 1, Kind: wire.Hang})
	done := async(func() error { return os.Rename(fail.Path("from"), fail.Path("to")) })
	awaitOp(t, s, "CopyObject", s.Sandbox.Log.Count("CopyObject")+1)
	s.Put(t, "to", []byte("theirs"))
	hang.Remove()
	harness.WantErrno(t, "rename", await(t, "rename", done), syscall.ESTALE)
	harness.Equal(t, "to", s.Get(t, "to"), []byte("theirs"))
	harness.Equal(t, "from", s.Get(t, "from"), []byte("ours"))
}

// Whatever becomes of the answers, each content is there exactly once.
func lostAnswers(t *testing.T, s *harness.Server, m *harness.Mount) {
	for _, op := range []string{"CopyObject", "PutObject", "CompleteMultipartUpload"} {
		size, kinds := oneRequest, []wire.FaultKind{wire.ResetBefore, wire.ResetAfter, wire.Answer, wire.AnswerAfter}
		if op == "CompleteMultipartUpload" {
			size, kinds = someParts, kinds[:2]
		}
		for _, kind := range kinds {
			name := fmt.Sprintf("lost-%s-%d", op, kind)
			f := written(t, m.Path(name), os.O_WRONLY, harness.Random(1, size))
			s.Put(t, name, []byte("theirs"))
			fault := wire.Fault{Op: op, Times: 1, Kind: kind}
			if op != "CopyObject" {
				fault.Skip = 1 // the first is refused
			}
			rule := s.Sandbox.Faults.Add(fault)
			harness.Must(t, f.Close())
			if rule.Hits() != 1 {
				t.Errorf("%s: %d hits", name, rule.Hits())
			}
			rule.Remove()
			harness.Equal(t, name, s.Get(t, name), harness.Random(1, size))
			kept := suite.Conflicts(t, s, name)
			if len(kept) != 1 {
				t.Fatalf("%s: kept are %q", name, kept)
			}
			harness.Equal(t, kept[0], s.Get(t, kept[0]), []byte("theirs"))
		}
	}
}

// After 409 an upload has to be sent again, which takes that all is still held.
func requestsMeet(t *testing.T, s *harness.Server, m *harness.Mount) {
	for _, size := range []int{oneRequest, someParts} {
		name := fmt.Sprint("met-", size)
		f := written(t, m.Path(name), os.O_RDWR, harness.Random(1, size))
		s.Sandbox.S3.Conflict(s.Bucket, name, 1)
		harness.Must(t, f.Close())
		harness.Equal(t, name, s.Get(t, name), harness.Random(1, size))
	}
	f := written(t, m.Path("stream"), os.O_WRONLY, harness.Random(1, someParts+5<<20))
	s.Put(t, "stream", []byte("theirs"))
	s.Sandbox.S3.Conflict(s.Bucket, "stream", 1)
	harness.WantErrno(t, "close", f.Close(), syscall.ESTALE)
	if text := lastError(t, m); !strings.Contains(text, "stream") || !strings.Contains(text, "lost") {
		t.Errorf("last_error does not name the loss: %q", text)
	}
	harness.Equal(t, "stream", s.Get(t, "stream"), []byte("theirs"))
	if copies := suite.Conflicts(t, s, "stream"); len(copies) != 0 {
		t.Errorf("theirs was copied, and stayed: %q", copies)
	}
	if n := uploads(t, s); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
	for _, r := range s.Sandbox.Log.Requests() {
		if r.Status == http.StatusConflict && r.Op != "PutObject" && r.Op != "CompleteMultipartUpload" {
			t.Errorf("%s was answered 409", r.Op)
		}
	}
}

func strictExcl(t *testing.T, s *harness.Server, a, b *harness.Mount) {
	for i := range 10 {
		name := fmt.Sprint("excl-", i)
		var winner atomic.Pointer[harness.Mount]
		var g errgroup.Group
		for _, m := range []*harness.Mount{a, b} {
			g.Go(func() error {
				f, err := os.OpenFile(m.Path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
				if os.IsExist(err) {
					return nil
				}
				if err != nil {
					return err
				}
				if !winner.CompareAndSwap(nil, m) {
					t.Errorf("two hosts made %s", name)
				}
				if _, err := f.WriteString(m.Dir); err != nil {
					return err
				}
				return f.Close()
			})
		}
		harness.Must(t, g.Wait())
		if winner.Load() == nil {
			t.Fatalf("nobody made %s", name)
		}
		harness.Equal(t, name, s.Get(t, name), []byte(winner.Load().Dir))
		if mode := s.Head(t, name).Metadata["mode"]; mode != fmt.Sprint(0o100640) {
			t.Errorf("mode of %s is %s", name, mode)
		}
	}
	empty := written(t, a.Path("empty"), os.O_WRONLY|os.O_EXCL, nil)
	harness.Equal(t, "what is open", s.Get(t, "empty"), nil)
	harness.Must(t, empty.Close())
}

// A change of attributes is never applied to what somebody else wrote.
func staleAttributes(t *testing.T, s *harness.Server, m *harness.Mount) {
	harness.Write(t, m.Path("attrs"), []byte("ours"))
	s.Put(t, "attrs", []byte("theirs"))
	before := s.Head(t, "attrs").Metadata["mode"]
	harness.Must(t, os.Chmod(m.Path("attrs"), 0o600))
	dir, err := os.Open(m.Dir)
	harness.Must(t, err)
	_ = dir.Sync() // may say that they could not be written
	harness.Must(t, dir.Close())
	harness.Equal(t, "attrs", s.Get(t, "attrs"), []byte("theirs"))
	if mode := s.Head(t, "attrs").Metadata["mode"]; mode != before {
		t.Errorf("their mode was %q and is %q", before, mode)
	}
	if kept := suite.Conflicts(t, s, "attrs"); len(kept) > 0 {
		t.Errorf("kept are %q", kept)
	}
}

// A directory takes no key from a file: both stay, and the directory has the
// name.
func directoryAppears(t *testing.T, s *harness.Server, m, other *harness.Mount) {
	f := written(t, m.Path("name"), os.O_WRONLY, []byte("ours"))
	harness.Must(t, os.Mkdir(other.Path("name"), 0o755))
	harness.Must(t, f.Close())
	harness.Equal(t, "name", s.Get(t, "name"), []byte("ours"))
	fresh := s.OtherHost().Mount(t)
	harness.Want(t, fresh.Path("name‛object"), []byte("ours"))
	if info, err := os.Stat(fresh.Path("name")); err != nil || !info.IsDir() {
		t.Errorf("the directory: %v, %v", info, err)
	}
	harness.Must(t, errors.Join(os.Remove(fresh.Path("name‛object")), os.Remove(fresh.Path("name"))))
}

// A name that is removed is gone, whoever wrote last, and closing an open file
// does not bring it back.
func staleUnlink(t *testing.T, s *harness.Server, m *harness.Mount) {
	for _, size := range []int{1000, 300 << 10} {
		for _, open := range []bool{false, true} {
			ours := harness.Random(1, size)
			harness.Write(t, m.Path("gone"), ours)
			var f *os.File
			var err error
			if open {
				f, err = os.OpenFile(m.Path("gone"), os.O_RDWR, 0)
				harness.Must(t, err)
			}
			s.Put(t, "gone", []byte("theirs"))
			harness.Must(t, os.Remove(m.Path("gone")))
			if open {
				got := make([]byte, size)
				if _, err := f.ReadAt(got, 0); err == nil {
					harness.Equal(t, "the open file", got, ours)
				} else {
					harness.WantErrno(t, "read of the open file", err, syscall.ESTALE)
				}
				_ = f.Close()
			}
			if keys := s.Keys(t); slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, "gone") || strings.Contains(k, "/open/") }) {
				t.Errorf("size %d, open %v: left are %q", size, open, keys)
			}
		}
	}
}

func exclIsExact(t *testing.T) {
	s := sandboxed(t)
	strictExcl(t, s, s.Mount(t, "--strict-excl"), s.OtherHost().Mount(t, "--strict-excl"))
}
