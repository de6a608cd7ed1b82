//go:build linux

package fs

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
	"golang.org/x/sys/unix"
)

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
	m.fails(os.WriteFile(m.path(strings.Repeat("x", 256)), nil, 0644), syscall.ENAMETOOLONG)
	_, err := unix.Getxattr(m.path("x"), "system.posix_acl_access", nil)
	m.fails(err, syscall.ENOTSUP)
	_, err = unix.Getxattr(m.path("x"), "user.none", nil)
	m.fails(err, syscall.ENODATA)
	mode := make([]byte, 100)
	if n, err := unix.Getxattr(m.path("x"), xattrSSE, mode); err != nil || string(mode[:n]) != "aws:kms" {
		t.Errorf("%s is %q, %v", xattrSSE, mode[:max(n, 0)], err)
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
		m := w.mount(func(s *served) { s.FS.PosixAttrs, s.FS.AttrTTL = plus, time.Minute })
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
