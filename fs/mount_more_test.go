//go:build linux

package fs

import (
	"context"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/kmsfs/kmsfs/internal/sandbox/s3"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

func TestARenameWhoseSourceStaysIsReported(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("a", "x")
	rule := w.box.Faults.Add(wire.Fault{Op: "DeleteObject", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
	m.fails(os.Rename(m.path("a"), m.path("b")), syscall.EACCES)
	rule.Remove()
	if keys := w.keys(); !cmp.Equal(keys, []string{"a", "b"}) {
		t.Errorf("keys %q", keys)
	}
	m.wants("a", "x")
	check(t, os.Rename(m.path("a"), m.path("c")))
	m.wants("c", "x")
}

func TestAFailedCopyLeavesTheOpenTargetAlone(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("a", "new")
	m.write("b", strings.Repeat("o", heldFile+1))
	f, err := os.OpenFile(m.path("b"), os.O_RDWR, 0)
	check(t, err)
	w.box.Faults.Add(wire.Fault{Op: "CopyObject", Key: "p/b", Kind: wire.Answer, Status: 403, Code: "AccessDenied", Times: 1})
	m.fails(os.Rename(m.path("a"), m.path("b")), syscall.EACCES)
	_, err = f.WriteAt([]byte("tail"), heldFile+1)
	check(t, err)
	check(t, f.Close())
	m.wants("b", strings.Repeat("o", heldFile+1)+"tail")
	m.wants("a", "new")
	if keys := w.keys(); !cmp.Equal(keys, []string{"a", "b"}) {
		t.Errorf("keys %q", keys)
	}
}

func TestUnlinkOnAVersionedBucketPinsTheVersion(t *testing.T) {
	w := newWorld(t)
	check(t, w.box.S3.CreateBucket("versions", s3.BucketOptions{Versioning: "Enabled"}))
	m := w.mount(func(s *served) { s.S3.Bucket = "versions" })
	content := strings.Repeat("v", heldFile+1)
	m.write("f", content)
	f, err := os.Open(m.path("f"))
	check(t, err)
	check(t, os.Remove(m.path("f")))
	got, err := io.ReadAll(f)
	if err != nil || string(got) != content {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	check(t, f.Close())
	if c := w.box.Log.Counts(); c["CopyObject"] != 0 || c["DeleteObject"] != 1 {
		t.Errorf("%v", c)
	}
}

func TestWithoutPosixAttributes(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(s *served) {
		s.FS.PosixAttrs = false
		s.FS.UID, s.FS.GID, s.FS.FileMode, s.FS.DirMode, s.FS.Umask = 11, 12, 0666, 0777, 027
	})
	m.write("f", "x")
	check(t, os.Mkdir(m.path("d"), 0755))
	past := time.Unix(1e9, 0)
	check(t, os.Chtimes(m.path("f"), past, past))
	m.fails(os.Chmod(m.path("f"), 0600), syscall.EPERM)
	m.close()
	if n := w.box.Log.Count("CopyObject"); n != 0 {
		t.Errorf("%d copies", n)
	}
	m = w.mount(func(s *served) {
		s.FS.PosixAttrs = false
		s.FS.UID, s.FS.GID, s.FS.FileMode, s.FS.DirMode, s.FS.Umask = 11, 12, 0666, 0777, 027
	})
	for name, want := range map[string]uint32{"f": 0640, "d": 0750} {
		if st := stat(t, m.path(name)); st.Mode&07777 != want || st.Uid != 11 || st.Gid != 12 {
			t.Errorf("%s is %o %d:%d", name, st.Mode, st.Uid, st.Gid)
		}
	}
	if o := w.head(w.other(), "f"); o.Meta["mode"] != "" {
		t.Errorf("metadata %v", o.Meta)
	}
}

func TestForeignMetadataSurvive(t *testing.T) {
	w := newWorld(t)
	b := w.other()
	o := w.put(b, "f", "x")
	for name, change := range map[string]func(m *mount) error{
		"chmod":    func(m *mount) error { return os.Chmod(m.path("f"), 0600) },
		"append":   func(m *mount) error { appendTo(t, m.path("f"), "y"); return nil },
		"truncate": func(m *mount) error { return os.Truncate(m.path("f"), 0) },
		"rename":   func(m *mount) error { return os.Rename(m.path("f"), m.path("f2")) },
	} {
		o = w.head(b, o.Key)
		o.Meta["foreign"] = name
		o.Headers.ContentType = "text/" + name
		marked, err := b.Copy(context.Background(), o, o.Key, attrsOf(o), ifMatch(o))
		check(t, err)
		m := w.mount(nil)
		check(t, change(m))
		m.close()
		if name == "rename" {
			marked.Key = "f2"
		}
		o = w.head(b, marked.Key)
		if o.Meta["foreign"] != name || o.Headers.ContentType != "text/"+name {
			t.Errorf("%s left %v, %s", name, o.Meta, o.Headers.ContentType)
		}
		if name == "rename" {
			w.put(b, "f", "x")
			o.Key = "f"
		}
	}
}

// The kernel closes by FLUSH and RELEASE; RELEASE alone comes where nobody
// could be told of an error, so nothing is saved then.
func TestReleaseWithoutFlushAborts(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	f, err := New(w.other(), defaults())
	check(t, err)
	fusefs.NewNodeFS(f.root, &fusefs.Options{})
	for _, flush := range []bool{false, true} {
		var out fuse.EntryOut
		_, fh, _, errno := f.root.Create(ctx, "f", syscall.O_WRONLY, 0644, &out)
		h := fh.(*writeHandle)
		if _, werr := h.Write(ctx, []byte("x"), 0); errno != 0 || werr != 0 {
			t.Fatal(errno, werr)
		}
		if flush {
			if errno := h.Flush(ctx); errno != 0 {
				t.Fatal(errno)
			}
			if errno := h.Flush(ctx); errno != 0 { // once per duplicate
				t.Fatal(errno)
			}
		}
		h.Release(ctx)
		if got := len(w.keys()); got != 0 != flush {
			t.Errorf("flushed %v: %d objects", flush, got)
		}
	}
	if errno := f.root.Unlink(ctx, "f"); errno != 0 {
		t.Fatal(errno)
	}
	check(t, f.Drain(ctx))
}
