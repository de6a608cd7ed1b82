//go:build linux

package fs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

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

func TestWritesAnywhere(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	body := []byte(strings.Repeat("x", 24<<20))
	m.write("f", string(body))
	f, err := os.OpenFile(m.path("f"), os.O_WRONLY, 0)
	check(t, err)
	for _, off := range []int64{10 << 20, 0, 24<<20 - 1, 3 << 20} {
		_, err = f.WriteAt([]byte("yz"), off)
		check(t, err)
		body = append(body[:off], append([]byte("yz"), body[min(off+2, int64(len(body))):]...)...)
		m.wants("f", string(body))
	}
	_, err = f.WriteAt([]byte("y"), 1<<40)
	m.fails(err, syscall.EFBIG)
	check(t, f.Close()) // what is refused costs nothing that was accepted
	m.wants("f", string(body))
	f, err = os.Create(m.path("g")) // can only be read back, and written again, after it was published
	check(t, err)
	_, err = f.Write(body)
	check(t, err)
	m.wants("g", string(body))
	_, err = f.WriteAt([]byte("new"), 12<<20)
	check(t, err)
	copy(body[12<<20:], "new")
	m.wants("g", string(body))
	check(t, f.Close())
	m.wants("g", string(body))
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
