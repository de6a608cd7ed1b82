package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
	"github.com/kmsfs/kmsfs/s3io"
	"golang.org/x/sys/unix"
)

func TestFilesAreObjects(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("a", "hello")
	m.wants("a", "hello")
	check(t, os.Mkdir(m.path("d"), 0750))
	m.write("d/b", "")
	m.wants("d/b", "")
	if st := stat(t, m.path("d")); st.Mode&07777 != 0750 {
		t.Fatalf("the directory's mode is %o", st.Mode)
	}
	m.write("a", "shorter"[:2])
	m.wants("a", "sh")
	for _, key := range []string{"a", "d/", "d/b"} {
		o, err := w.other().Head(context.Background(), key)
		if err != nil || o.Encryption.Algorithm != s3io.ModeKMS || !o.Encryption.BucketKey {
			t.Errorf("%s is %+v, %v", key, o.Encryption, err)
		}
	}
	_, err := os.Stat(m.path("none"))
	m.fails(err, syscall.ENOENT)
}

func TestLargeFilesComeBack(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	content := make([]byte, 23<<20+17)
	rand.NewChaCha8([32]byte{1}).Read(content)
	check(t, os.WriteFile(m.path("big"), content, 0644))
	before := stat(t, m.path("big"))
	m.close()
	m = w.mount(nil)
	got, err := os.ReadFile(m.path("big"))
	if err != nil || !slices.Equal(got, content) {
		t.Fatalf("%d bytes came back, want %d: %v", len(got), len(content), err)
	}
	after := stat(t, m.path("big"))
	if before.Ino != after.Ino || before.Mtim != after.Mtim || before.Size != after.Size {
		t.Errorf("before the remount %+v, after it %+v", before, after)
	}
	if n := w.box.Log.Count("CopyObject"); n != 0 {
		t.Errorf("%d copies were made to store attributes", n)
	}
}

func TestAttributesAreKept(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	past := time.Unix(1500000000, 123456789)
	m.write("f", "x")
	check(t, os.Mkdir(m.path("d"), 0755))
	for _, name := range []string{"f", "d"} {
		check(t, os.Chmod(m.path(name), 0711))
		check(t, os.Chown(m.path(name), 1234, 5678))
		check(t, os.Chtimes(m.path(name), past, past))
	}
	m.close()
	m = w.mount(nil)
	for _, name := range []string{"f", "d"} {
		st := stat(t, m.path(name))
		if st.Mode&07777 != 0711 || st.Uid != 1234 || st.Gid != 5678 || st.Mtim.Nano() != past.UnixNano() {
			t.Errorf("%s is %o %d:%d %v", name, st.Mode, st.Uid, st.Gid, st.Mtim)
		}
	}
	m.wants("f", "x")
}

func TestAttributesBeforeCloseArePartOfTheCommit(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	f, err := os.Create(m.path("f"))
	check(t, err)
	_, err = f.WriteString("data")
	check(t, err)
	check(t, f.Chmod(0600))
	check(t, f.Close())
	if m := w.box.Log; m.Count("CopyObject") != 0 || m.Count("PutObject") != 1 {
		t.Errorf("%v", m.Counts())
	}
	o, err := w.other().Head(context.Background(), "f")
	if err != nil || o.Meta["mode"] != "33152" {
		t.Errorf("mode is %q, %v", o.Meta["mode"], err)
	}
}

func TestRenameTakesPendingAttributesAlong(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("tmp", "x")
	check(t, os.Chmod(m.path("tmp"), 0640))
	check(t, os.Rename(m.path("tmp"), m.path("final")))
	if n := w.box.Log.Count("CopyObject"); n != 1 {
		t.Errorf("%d copies", n)
	}
	o, err := w.other().Head(context.Background(), "final")
	if err != nil || o.Meta["mode"] != "33184" {
		t.Errorf("mode is %q, %v", o.Meta["mode"], err)
	}
	if p := m.ask("pending"); p != "" {
		t.Errorf("pending: %s", p)
	}
	_, err = os.Stat(m.path("tmp"))
	m.fails(err, syscall.ENOENT)
}

func TestFsyncOfADirectoryWritesAttributesOfItsChildren(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("f", "x")
	check(t, os.Chmod(m.path("f"), 0640))
	d, err := os.Open(m.dir)
	check(t, err)
	defer d.Close()
	check(t, d.Sync())
	o, err := w.other().Head(context.Background(), "f")
	if err != nil || o.Meta["mode"] != "33184" {
		t.Errorf("mode is %q, %v", o.Meta["mode"], err)
	}
}

func TestSuidIsClearedByWriting(t *testing.T) {
	m := newWorld(t).mount(nil)
	m.write("f", "x")
	check(t, os.Chmod(m.path("f"), 0755|os.ModeSetuid|os.ModeSetgid))
	f, err := os.OpenFile(m.path("f"), os.O_WRONLY|os.O_APPEND, 0)
	check(t, err)
	_, err = f.WriteString("y")
	check(t, err)
	check(t, f.Close())
	if st := stat(t, m.path("f")); st.Mode&07777 != 0755 {
		t.Errorf("mode is %o", st.Mode)
	}
	m.wants("f", "xy")
	check(t, os.Chmod(m.path("f"), 0755|os.ModeSetuid))
	check(t, os.Chown(m.path("f"), 7, 7))
	if st := stat(t, m.path("f")); st.Mode&07777 != 0755 {
		t.Errorf("mode after chown is %o", st.Mode)
	}
}

func TestWritingGoesOnAfterFlushAndFsync(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	f, err := os.Create(m.path("f"))
	check(t, err)
	for i := range 3 {
		_, err = fmt.Fprintf(f, "line %d\n", i)
		check(t, err)
		d, err := syscall.Dup(int(f.Fd()))
		check(t, err)
		check(t, syscall.Close(d)) // flushes, as a child that closes an inherited descriptor does
		check(t, f.Sync())
	}
	check(t, f.Close())
	m.wants("f", "line 0\nline 1\nline 2\n")
	if w.box.Log.Count("PutObject") != 3 {
		t.Errorf("not one commit per change: %v", w.box.Log.Counts())
	}
}

func TestAppendAndTruncate(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("f", "12345")
	appendTo(t, m.path("f"), "678")
	m.wants("f", "12345678")
	check(t, os.Truncate(m.path("f"), 0))
	m.wants("f", "")
	if o, err := w.other().Head(context.Background(), "f"); err != nil || o.Size != 0 {
		t.Errorf("the truncation is not committed: %d bytes, %v", o.Size, err)
	}
	f, err := os.OpenFile(m.path("f"), os.O_RDWR, 0)
	check(t, err)
	_, err = f.WriteString("new")
	check(t, err)
	if st, err := f.Stat(); err != nil || st.Size() != 3 {
		t.Errorf("size before the commit is %d, %v", st.Size(), err)
	}
	check(t, f.Truncate(0))
	_, err = f.WriteAt([]byte("again"), 0)
	check(t, err)
	back := make([]byte, 5)
	if _, err = f.ReadAt(back, 0); err != nil || string(back) != "again" {
		t.Errorf("own data reads %q, %v", back, err)
	}
	check(t, f.Close())
	m.wants("f", "again")
}

func TestRandomWritesAreRefusedAndStick(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	big := strings.Repeat("x", 24<<20)
	m.write("f", big)
	f, err := os.OpenFile(m.path("f"), os.O_WRONLY, 0)
	check(t, err)
	_, err = f.WriteAt([]byte("y"), 10<<20)
	m.fails(err, syscall.ENOTSUP)
	_, err = f.WriteAt([]byte("y"), int64(len(big)))
	m.fails(err, syscall.ENOTSUP)
	m.fails(f.Sync(), syscall.ENOTSUP)
	m.fails(f.Close(), syscall.ENOTSUP)
	m.wants("f", big)
	appendTo(t, m.path("f"), "z") // the error ended with the last descriptor
	m.wants("f", big+"z")
}

func TestCloseReportsAndKeepsTheOldContent(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("f", "old")
	rule := w.box.Faults.Add(wire.Fault{Op: "PutObject", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
	m.fails(os.WriteFile(m.path("f"), []byte("new"), 0644), syscall.EACCES)
	m.fails(os.WriteFile(m.path("g"), []byte("new"), 0644), syscall.EACCES)
	rule.Remove()
	m.wants("f", "old")
	_, err := os.Stat(m.path("g"))
	m.fails(err, syscall.ENOENT)
	last := make([]byte, 4096)
	n, err := unix.Getxattr(m.dir, "user.kmsfs.last_error", last)
	if err != nil || !strings.Contains(string(last[:max(n, 0)]), "AccessDenied") {
		t.Errorf("last_error is %q, %v", last[:max(n, 0)], err)
	}
	if got := m.ask("failures"); !strings.Contains(got, "/f: ") || !strings.Contains(got, "/g: ") {
		t.Errorf("failures: %s", got)
	}
	m.write("f", "newer")
	m.wants("f", "newer")
}

func TestACommitThatWasAppliedIsNotReportedAsFailed(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	w.box.Faults.Add(wire.Fault{Op: "PutObject", Kind: wire.ResetAfter, Times: 1})
	m.write("f", "x")
	m.wants("f", "x")
	appendTo(t, m.path("f"), "y")
	m.wants("f", "xy")
}

func TestStatDoesNotWaitForAHungUpload(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("f", "old")
	rule := w.box.Faults.Add(wire.Fault{Op: "PutObject", Key: "p/f", Kind: wire.Hang})
	f, err := os.OpenFile(m.path("f"), os.O_WRONLY|os.O_TRUNC, 0)
	check(t, err)
	_, err = f.WriteString("newer")
	check(t, err)
	closed := make(chan error, 1)
	go func() { closed <- f.Close() }()
	waitFor(t, "the upload to hang", func() bool { return rule.Hits() > 0 })
	for range 3 {
		if st := stat(t, m.path("f")); st.Size != 5 {
			t.Errorf("size is %d", st.Size)
		}
		names, err := os.ReadDir(m.dir)
		if err != nil || len(names) != 1 {
			t.Errorf("%v, %v", names, err)
		}
	}
	m.write("g", "is not held up")
	select {
	case err := <-closed:
		t.Fatalf("close did not wait: %v", err)
	default:
	}
	if p := m.ask("pending"); !strings.Contains(p, "/f") {
		t.Errorf("pending: %s", p)
	}
	rule.Remove()
	check(t, <-closed)
	m.wants("f", "newer")
}

func TestUnlinkedOpenFilesStayUsable(t *testing.T) {
	for _, size := range []int{0, 1000, heldFile + 1, 9 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w := newWorld(t)
			m := w.mount(nil)
			content := strings.Repeat("0123456789", size/10+1)[:size]
			m.write("f", content)
			f, err := os.OpenFile(m.path("f"), os.O_RDWR, 0)
			check(t, err)
			check(t, os.Remove(m.path("f")))
			_, err = os.Stat(m.path("f"))
			m.fails(err, syscall.ENOENT)
			m.write("f", "another file")
			got, err := io.ReadAll(io.NewSectionReader(f, 0, int64(size)+1))
			if err != nil || string(got) != content {
				t.Errorf("%d of %d bytes are left, %v", len(got), size, err)
			}
			_, err = f.WriteAt([]byte("tail"), int64(size))
			check(t, err)
			tail := make([]byte, 4)
			if _, err := f.ReadAt(tail, int64(size)); err != nil || string(tail) != "tail" {
				t.Errorf("the tail reads %q, %v", tail, err)
			}
			check(t, f.Sync())
			check(t, f.Close())
			m.wants("f", "another file")
			m.close()
			if keys := w.keys(); !cmp.Equal(keys, []string{"f"}) {
				t.Errorf("left are %q", keys)
			}
		})
	}
}

func TestATemporaryFileThatIsUnlinkedAtOnce(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	f, err := os.OpenFile(m.path("t"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0600)
	check(t, err)
	check(t, os.Remove(m.path("t")))
	content := strings.Repeat("x", 20<<20)
	_, err = f.WriteString(content)
	check(t, err)
	got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil || string(got) != content {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	check(t, f.Close())
	m.close()
	if keys := w.keys(); len(keys) > 0 {
		t.Errorf("left are %q", keys)
	}
}

func TestRenameOverAnOpenFile(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("old", "old content")
	m.write("new", "new content")
	f, err := os.Open(m.path("old"))
	check(t, err)
	defer f.Close()
	check(t, os.Rename(m.path("new"), m.path("old")))
	m.wants("old", "new content")
	got, err := io.ReadAll(f)
	if err != nil || string(got) != "old content" {
		t.Errorf("the open file reads %q, %v", got, err)
	}
}

func TestRenameWhileWriting(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	f, err := os.Create(m.path("a"))
	check(t, err)
	_, err = f.WriteString("first ")
	check(t, err)
	check(t, os.Rename(m.path("a"), m.path("b")))
	_, err = f.WriteString("second")
	check(t, err)
	check(t, f.Close())
	m.wants("b", "first second")
	if keys := w.keys(); !cmp.Equal(keys, []string{"b"}) {
		t.Errorf("keys %q", keys)
	}
}

func TestRenameFlags(t *testing.T) {
	m := newWorld(t).mount(nil)
	m.write("a", "a")
	m.write("b", "b")
	check(t, os.Mkdir(m.path("d"), 0755))
	check(t, os.Mkdir(m.path("e"), 0755))
	m.write("e/x", "x")
	rename := func(from, to string, flags uint) error {
		return unix.Renameat2(unix.AT_FDCWD, m.path(from), unix.AT_FDCWD, m.path(to), flags)
	}
	m.fails(rename("a", "b", unix.RENAME_NOREPLACE), syscall.EEXIST)
	m.fails(rename("a", "b", unix.RENAME_EXCHANGE), syscall.EINVAL)
	m.fails(rename("d", "e", 0), syscall.ENOTEMPTY)
	m.fails(rename("d", "a", 0), syscall.ENOTDIR)
	m.fails(rename("a", "d", 0), syscall.EISDIR)
	check(t, rename("a", "c", unix.RENAME_NOREPLACE))
	m.wants("c", "a")
	check(t, rename("e", "d", 0))
	m.wants("d/x", "x")
}

func TestRenameOfADirectory(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	check(t, os.MkdirAll(m.path("a/b/c"), 0755))
	for i := range 20 {
		m.write(fmt.Sprintf("a/b/f%d", i), fmt.Sprint(i))
	}
	w.put(w.other(), "a/b//odd", "odd")
	f, err := os.Create(m.path("a/b/c/open"))
	check(t, err)
	_, err = f.WriteString("before ")
	check(t, err)
	r, err := os.Open(m.path("a/b/f1"))
	check(t, err)
	defer r.Close()
	check(t, os.Chmod(m.path("a/b/f2"), 0600))
	check(t, os.Rename(m.path("a"), m.path("z")))
	_, err = f.WriteString("after")
	check(t, err)
	check(t, f.Close())
	m.wants("z/b/c/open", "before after")
	m.wants("z/b/f7", "7")
	if got, err := io.ReadAll(r); err != nil || string(got) != "1" {
		t.Errorf("a file that was open reads %q, %v", got, err)
	}
	if st := stat(t, m.path("z/b/f2")); st.Mode&07777 != 0600 {
		t.Errorf("mode is %o", st.Mode)
	}
	_, err = os.Stat(m.path("a"))
	m.fails(err, syscall.ENOENT)
	keys := w.keys()
	if i := slices.IndexFunc(keys, func(k string) bool { return !strings.HasPrefix(k, "z/") }); i >= 0 || len(keys) != 25 || !slices.Contains(keys, "z/b//odd") {
		t.Errorf("keys %q", keys)
	}
}

func TestADirectoryRenameThatFailsChangesNothing(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	check(t, os.Mkdir(m.path("a"), 0755))
	for i := range 5 {
		m.write(fmt.Sprintf("a/f%d", i), "x")
	}
	before := w.keys()
	w.box.Faults.Add(wire.Fault{Op: "CopyObject", Kind: wire.Answer, Status: 403, Code: "AccessDenied", Skip: 2, Times: 1})
	m.fails(os.Rename(m.path("a"), m.path("b")), syscall.EACCES)
	if d := cmp.Diff(before, w.keys()); d != "" {
		t.Errorf("%s", d)
	}
	m.wants("a/f3", "x")
}

func TestDirectories(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	b := w.other()
	w.put(b, "implied/x/y", "1")
	m.wants("implied/x/y", "1")
	check(t, os.Mkdir(m.path("d"), 0755))
	m.fails(os.Mkdir(m.path("d"), 0755), syscall.EEXIST)
	m.write("d/f", "x")
	m.fails(syscall.Rmdir(m.path("d")), syscall.ENOTEMPTY)
	m.fails(syscall.Rmdir(m.path("d/f")), syscall.ENOTDIR)
	m.fails(syscall.Unlink(m.path("d")), syscall.EISDIR)
	check(t, os.Remove(m.path("d/f")))
	check(t, os.Remove(m.path("d")))
	check(t, os.RemoveAll(m.path("implied")))
	if keys := w.keys(); len(keys) > 0 {
		t.Errorf("keys %q", keys)
	}
	m.fails(os.Mkdir(m.path(reservedName), 0755), syscall.EPERM)
	m.fails(os.WriteFile(m.path(reservedName), nil, 0644), syscall.EPERM)
	m.fails(os.Link(m.path("x"), m.path("y")), syscall.ENOENT)
	m.write("x", "")
	m.fails(os.Link(m.path("x"), m.path("y")), syscall.EPERM)
	m.fails(os.Symlink("x", m.path("y")), syscall.ENOTSUP)
	m.fails(syscall.Mkfifo(m.path("y"), 0644), syscall.EPERM)
	m.fails(os.WriteFile(m.path(strings.Repeat("x", 256)), nil, 0644), syscall.ENAMETOOLONG)
	m.fails(unix.Setxattr(m.path("x"), "user.a", []byte("b"), 0), syscall.ENOTSUP)
	_, err := unix.Getxattr(m.path("x"), "system.posix_acl_access", nil)
	m.fails(err, syscall.ENOTSUP)
	_, err = unix.Getxattr(m.path("x"), "user.none", nil)
	m.fails(err, syscall.ENODATA)
	mode := make([]byte, 100)
	if n, err := unix.Getxattr(m.path("x"), xattrMode, mode); err != nil || string(mode[:n]) != "aws:kms" {
		t.Errorf("%s is %q, %v", xattrMode, mode[:max(n, 0)], err)
	}
}

func TestOddKeysAreShownAndCanBeDeleted(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	b := w.other()
	keys := []string{"a//b", "./x", "../y", "f", "f/below", "f-", "long/" + strings.Repeat("n", 300), quote + "FF", ".kmsfs/secret"}
	for _, k := range keys {
		w.put(b, k, "content of "+k)
	}
	var seen []string
	check(t, filepath.WalkDir(m.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		seen = append(seen, strings.TrimPrefix(string(content), "content of "))
		return err
	}))
	slices.Sort(seen)
	want := []string{"../y", "./x", "a//b", "f", "f-", "f/below", quote + "FF"}
	if d := cmp.Diff(want, seen); d != "" {
		t.Error(d)
	}
	check(t, os.Remove(m.path("f"+shadow)))
	_, err := os.Stat(m.path(".kmsfs"))
	m.fails(err, syscall.ENOENT)
	m.write("\xff\xfe", "not UTF-8")
	m.wants("\xff\xfe", "not UTF-8")
	check(t, os.Remove(m.path("\xff")))
	if got := w.keys(); slices.Contains(got, "f") || slices.Contains(got, quote+"FF") || !slices.Contains(got, quote+"FF"+quote+"FE") {
		t.Errorf("keys %q", got)
	}
}

func TestLargeDirectoriesAreListedOnceAndRewound(t *testing.T) {
	w := newWorld(t)
	b := w.other()
	want := make([]string, 2345)
	for i := range want {
		want[i] = fmt.Sprintf("f%05d", i)
	}
	fillBucket(t, w, b, "many/", want)
	for _, plus := range []bool{true, false} {
		m := w.mount(func(s *served) { s.FS.PosixAttrs = plus })
		d, err := os.Open(m.path("many"))
		check(t, err)
		for range 2 {
			names, err := d.Readdirnames(0)
			check(t, err)
			slices.Sort(names)
			if !slices.Equal(names, want) {
				t.Errorf("%d names, want %d", len(names), len(want))
			}
			_, err = d.Seek(0, io.SeekStart)
			check(t, err)
		}
		check(t, d.Close())
		seekInDir(t, m.path("many"), len(want))
		w.box.Log.Reset()
		infos, err := os.ReadDir(m.path("many"))
		check(t, err)
		for _, e := range infos {
			if _, err := e.Info(); err != nil {
				t.Error(err)
			}
		}
		// All attributes are known already, the listing is three requests long.
		if c := w.box.Log.Counts(); c["HeadObject"] > 10 || c["ListObjectsV2"] > 20 {
			t.Errorf("the second ls -l made %v", c)
		}
		m.close()
	}
}

func TestSomebodyElseChangesAFile(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(s *served) { s.FS.AttrTTL = 0 })
	b := w.other()
	w.put(b, "f", "one")
	m.wants("f", "one")
	r, err := os.Open(m.path("f"))
	check(t, err)
	defer r.Close()
	wr, err := os.OpenFile(m.path("f"), os.O_WRONLY|os.O_APPEND, 0)
	check(t, err)
	before := stat(t, m.path("f"))
	w.put(b, "f", "three")
	m.wants("f", "three")
	after := stat(t, m.path("f"))
	if before.Ino != after.Ino {
		t.Error("the inode number changed")
	}
	if st, err := r.Stat(); err != nil || st.Size() != 3 {
		t.Errorf("the old descriptor shows %d bytes, %v", st.Size(), err)
	}
	_, err = wr.WriteString("lost")
	m.fails(errors.Join(err, wr.Close()), syscall.ESTALE)
	m.wants("f", "three")
	check(t, b.Delete(context.Background(), w.head(b, "f")))
	_, err = os.Stat(m.path("f"))
	m.fails(err, syscall.ENOENT)
}

func TestCreatingOverSomebodyElsesFileFails(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(s *served) { s.FS.AttrTTL = 0 })
	f, err := os.OpenFile(m.path("f"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0644)
	check(t, err)
	_, err = f.WriteString("mine")
	check(t, err)
	w.put(w.other(), "f", "theirs")
	m.fails(f.Close(), syscall.ESTALE)
	m.wants("f", "theirs")
}

func TestCreatingManyFilesCostsOneRequestEach(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(s *served) { s.FS.AttrTTL = 10 * time.Second })
	m.write("first", "")
	m.write("second", "")
	w.box.Log.Reset()
	for i := range 50 {
		m.write(fmt.Sprintf("f%02d", i), "x")
	}
	if c := w.box.Log.Counts(); c["PutObject"] != 50 || c["HeadObject"]+c["ListObjectsV2"] > 3 {
		t.Errorf("50 files made %v", c)
	}
}

func TestAMappingThatOutlivesItsDescriptorIsCommitted(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("f", strings.Repeat("a", 8192))
	m.writeMapping("f")
	waitFor(t, "the commit", func() bool { return m.ask("pending") == "" })
	m.close()
	m = w.mount(nil)
	got, err := os.ReadFile(m.path("f"))
	if err != nil || string(got[4000:4019]) != "through the mapping" {
		t.Errorf("%q, %v", got[4000:4019], err)
	}
}

func TestAMappingThatCannotBeSavedIsToldOf(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("f", strings.Repeat("a", 8192))
	rule := w.box.Faults.Add(wire.Fault{Op: "PutObject", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
	m.writeMapping("f")
	waitFor(t, "the failure", func() bool { return m.ask("failures") != "" && m.ask("pending") == "" })
	rule.Remove()
	_, err := os.Open(m.path("f"))
	m.fails(err, syscall.EACCES)
	m.wants("f", strings.Repeat("a", 8192))
}

func TestDrainCommitsOpenFiles(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	f, err := os.Create(m.path("f"))
	check(t, err)
	_, err = f.WriteString("half")
	check(t, err)
	if got := m.ask("pending"); !strings.Contains(got, "/f: 4 bytes not committed") {
		t.Errorf("pending: %q", got)
	}
	if got := m.ask("drain"); got != "" {
		t.Errorf("drain: %q", got)
	}
	if o := w.head(w.other(), "f"); o.Size != 4 {
		t.Errorf("%d bytes are committed", o.Size)
	}
	if got := m.ask("unmount"); !strings.Contains(got, "busy") {
		t.Errorf("unmount: %q", got)
	}
	check(t, f.Close())
	if got := m.ask("unmount"); got != "" {
		t.Errorf("unmount: %q", got)
	}
}

func TestReadOnly(t *testing.T) {
	w := newWorld(t)
	w.put(w.other(), "f", "x")
	m := w.mount(func(s *served) { s.FS.ReadOnly, s.S3.ReadOnly = true, true })
	m.wants("f", "x")
	for _, err := range []error{os.WriteFile(m.path("g"), nil, 0644), os.Remove(m.path("f")), os.Mkdir(m.path("d"), 0755), os.Chmod(m.path("f"), 0600)} {
		m.fails(err, syscall.EROFS)
	}
}

func TestBadMountPoints(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	check(t, os.WriteFile(file, nil, 0644))
	for at, want := range map[string]string{
		filepath.Join(dir, "none"): "does not exist; create it",
		file:                       "not a directory",
		dir:                        "not empty",
		m.dir:                      "busy",
	} {
		if _, err := w.tryMount(at, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", at, err, want)
		}
	}
}

// Helpers.

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func stat(t *testing.T, path string) syscall.Stat_t {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	return st
}

func appendTo(t *testing.T, path, more string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	check(t, err)
	_, err = f.WriteString(more)
	check(t, errors.Join(err, f.Close()))
}

// waitFor asks until a condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// keys lists the whole bucket under the mount's prefix.
func (w *world) keys() []string {
	w.t.Helper()
	var keys []string
	q := s3io.ListQuery{Max: 1000}
	b := w.other()
	for {
		page, err := b.List(context.Background(), q)
		check(w.t, err)
		for _, o := range page.Objects {
			keys = append(keys, o.Key)
		}
		if q.Token = page.Token; q.Token == "" {
			return keys
		}
	}
}

func (w *world) head(b *s3io.Bucket, key string) s3io.Object {
	w.t.Helper()
	o, err := b.Head(context.Background(), key)
	check(w.t, err)
	return o
}

func fillBucket(t *testing.T, w *world, b *s3io.Bucket, prefix string, names []string) {
	t.Helper()
	objects := make([]s3io.Object, len(names))
	for i, n := range names {
		objects[i].Key = prefix + n
	}
	check(t, side(context.Background(), objects, func(ctx context.Context, o s3io.Object) error {
		_, err := b.Put(ctx, o.Key, strings.NewReader(""), 0, s3io.Attrs{Meta: map[string]string{"mode": "33200"}}, s3io.Condition{})
		return err
	}))
}

// seekInDir reads a directory to some place, notes the offset, reads on, and
// expects the same names after seeking back.
func seekInDir(t *testing.T, path string, n int) {
	t.Helper()
	d, err := os.Open(path)
	check(t, err)
	defer d.Close()
	_, err = d.Readdirnames(n / 5)
	check(t, err)
	// What is left in os.File's buffer is not at this offset, so both readings
	// begin at it with getdents alone.
	off, err := syscall.Seek(int(d.Fd()), 0, io.SeekCurrent)
	check(t, err)
	rest := func() (all []string) {
		buf := make([]byte, 64<<10)
		for {
			k, err := syscall.Getdents(int(d.Fd()), buf)
			check(t, err)
			if k == 0 {
				return all
			}
			_, _, all = syscall.ParseDirent(buf[:k], -1, all)
		}
	}
	first := rest()
	_, err = syscall.Seek(int(d.Fd()), off, io.SeekStart)
	check(t, err)
	if second := rest(); !slices.Equal(first, second) || len(first) < n/2 {
		t.Errorf("after seeking %d names, before %d", len(second), len(first))
	}
}
