//go:build linux

package fs

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kmsfs/kmsfs/s3io"
	"golang.org/x/sys/unix"
)

// lstats returns what lstat and readlink say of names, but for access times.
func (m *mount) lstats(names ...string) map[string]string {
	m.t.Helper()
	all := make(map[string]string, len(names))
	for _, name := range names {
		st := stat(m.t, m.path(name))
		target, err := os.Readlink(m.path(name))
		if (err == nil) != (st.Mode&syscall.S_IFMT == syscall.S_IFLNK) {
			m.t.Errorf("readlink %s: %q, %v", name, target, err)
		}
		all[name] = fmt.Sprintf("%o %d:%d rdev %x size %d nlink %d mtime %d ctime %d ino %d %q", st.Mode, st.Uid, st.Gid,
			st.Rdev, st.Size, st.Nlink, st.Mtim.Nano(), st.Ctim.Nano(), st.Ino, target)
	}
	return all
}

var (
	longTarget = "../" + strings.Repeat("d/", targetMax/2-2)
	makers     = map[string]func(path string) error{
		"link":    func(path string) error { return os.Symlink(" a b/\xff ", path) },
		"long":    func(path string) error { return os.Symlink(longTarget, path) },
		"fifo":    func(path string) error { return syscall.Mkfifo(path, 0640) },
		"socket":  func(path string) error { return syscall.Mknod(path, syscall.S_IFSOCK|0755, 0) },
		"char":    func(path string) error { return syscall.Mknod(path, syscall.S_IFCHR|0600, int(unix.Mkdev(5, 300))) },
		"block":   func(path string) error { return syscall.Mknod(path, syscall.S_IFBLK|0660, int(unix.Mkdev(259, 70000))) },
		"regular": func(path string) error { return syscall.Mknod(path, syscall.S_IFREG|0644, 0) },
		"dir":     func(path string) error { return os.Mkdir(path, 0755) },
	}
)

func TestEveryKindOfNodeStays(t *testing.T) {
	inBothModes(t, func(t *testing.T, mode func(*served)) {
		w := newWorld(t)
		m := w.mount(mode)
		names := slices.Sorted(maps.Keys(makers))
		past := []unix.Timespec{{Sec: 1}, {Sec: 981173106, Nsec: 123456789}}
		for _, name := range names {
			check(t, makers[name](m.path(name)))
			m.fails(makers[name](m.path(name)), syscall.EEXIST)
			check(t, os.Lchown(m.path(name), 1234, 5678))
			if !strings.HasPrefix(name, "l") {
				check(t, unix.Fchmodat(unix.AT_FDCWD, m.path(name), 07640, 0))
			}
			check(t, unix.UtimesNanoAt(unix.AT_FDCWD, m.path(name), past, unix.AT_SYMLINK_NOFOLLOW))
			check(t, os.Rename(m.path(name), m.path(name+".moved")))
			check(t, os.Rename(m.path(name+".moved"), m.path(name)))
		}
		before := m.lstats(names...)
		m.close()
		m = w.mount(mode)
		if d := cmp.Diff(before, m.lstats(names...)); d != "" {
			t.Errorf("after a remount: %s", d)
		}
		entries, err := os.ReadDir(m.dir)
		check(t, err)
		for _, e := range entries {
			if info, err := e.Info(); err != nil || info.Mode().Type() != e.Type() {
				t.Errorf("%s is listed as %v: %v, %v", e.Name(), e.Type(), info.Mode(), err)
			}
		}
		overhead := w.head(w.other(), "long").Size - int64(len(longTarget)) // as it is stored
		if sealed := strings.HasSuffix(t.Name(), "sealed"); sealed == (overhead == 0) {
			t.Errorf("%d bytes are stored beside the target's own", overhead)
		}
		for _, name := range names {
			check(t, os.Remove(m.path(name)))
		}
		if keys := w.keys(); len(keys) > 0 {
			t.Errorf("left: %q", keys)
		}
	})
}

func TestSymlinksAndFIFOsWork(t *testing.T) {
	m := newWorld(t).mount(nil)
	check(t, os.Mkdir(m.path("d"), 0755))
	check(t, os.Symlink("d/target", m.path("link")))
	m.write("link", "through a dangling link")
	m.wants("d/target", "through a dangling link")
	check(t, os.Truncate(m.path("link"), 7))
	m.wants("link", "through")
	check(t, os.Symlink("d", m.path("dirlink")))
	m.wants("dirlink/target", "through")
	m.fails(syscall.Rmdir(m.path("dirlink")), syscall.ENOTDIR)
	check(t, os.Symlink("loop", m.path("loop")))
	_, err := os.ReadFile(m.path("loop"))
	m.fails(err, syscall.ELOOP)
	m.fails(unix.Lsetxattr(m.path("link"), "user.a", []byte("1"), 0), syscall.EPERM)
	m.fails(os.Symlink("x", m.path(reservedName)), syscall.EPERM)
	check(t, syscall.Mkfifo(m.path("fifo"), 0600))
	f, err := os.OpenFile(m.path("fifo"), os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	check(t, os.Remove(m.path("fifo")))
	got := make([]byte, 5)
	_, err = f.WriteString("hello")
	check(t, err)
	if _, err := f.Read(got); err != nil || string(got) != "hello" {
		t.Errorf("through the FIFO came %q, %v", got, err)
	}
}

func TestRenameOverEveryKind(t *testing.T) {
	m := newWorld(t).mount(nil)
	rename := func(from, to string, flags uint) error {
		return unix.Renameat2(unix.AT_FDCWD, m.path(from), unix.AT_FDCWD, m.path(to), flags)
	}
	check(t, os.Mkdir(m.path("dir"), 0755))
	for _, name := range []string{"link", "fifo", "regular"} {
		for _, over := range []string{"link", "fifo", "regular"} {
			check(t, makers[name](m.path("new")))
			check(t, makers[over](m.path("old")))
			m.fails(rename("new", "old", unix.RENAME_NOREPLACE), syscall.EEXIST)
			m.fails(rename("new", "dir", 0), syscall.EISDIR)
			m.fails(rename("dir", "new", 0), syscall.ENOTDIR)
			before := m.lstats("new")["new"]
			check(t, rename("new", "old", 0))
			if after := m.lstats("old")["old"]; strings.Fields(after)[0] != strings.Fields(before)[0] {
				t.Errorf("%s over %s: %s became %s", name, over, before, after)
			}
			check(t, rename("old", "free", unix.RENAME_NOREPLACE))
			check(t, os.Remove(m.path("free")))
		}
	}
}

// What other clients make of an object is seen like a change of its content.
func TestObjectsThatBecomeSymlinks(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(c *served) { c.FS.AttrTTL = 0 })
	b := w.other()
	theirs := func(key, content, mode string) {
		t.Helper()
		_, err := b.Put(context.Background(), key, strings.NewReader(content), int64(len(content)), s3io.Attrs{Meta: map[string]string{"mode": mode}}, s3io.Condition{})
		check(t, err)
	}
	m.write("f", "somewhere")
	was := stat(t, m.path("f"))
	for _, step := range []struct {
		mode string
		typ  uint32
	}{{"41471", syscall.S_IFLNK}, {"33188", syscall.S_IFREG}, {"41471", syscall.S_IFLNK}} {
		theirs("f", "somewhere", step.mode)
		if st := stat(t, m.path("f")); st.Mode&syscall.S_IFMT != step.typ || st.Ino != was.Ino {
			t.Errorf("with mode %s it is %o with inode number %d, was %d", step.mode, st.Mode, st.Ino, was.Ino)
		}
	}
	if target, err := os.Readlink(m.path("f")); target != "somewhere" {
		t.Errorf("its target is %q, %v", target, err)
	}
	theirs("f", "elsewhere", "41471")
	if target, err := os.Readlink(m.path("f")); target != "elsewhere" {
		t.Errorf("its new target is %q, %v", target, err)
	}
	theirs("zero", "a\x00b", "41471")
	_, err := os.Readlink(m.path("zero"))
	m.fails(err, syscall.EIO)
	check(t, os.Remove(m.path("zero")))
	for key, mode := range map[string]string{"empty": "41471", "large": "41471", "fifo": "4516", "device": "24996"} {
		content := strings.Repeat(key, 1000)
		if key == "empty" {
			content = ""
		}
		theirs(key, content, mode)
		m.wants(key, content) // not what its mode says, so a file
	}
	_, err = os.Lstat(m.path("new"))
	m.fails(err, syscall.ENOENT)
}

func TestCreatingIsExact(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(c *served) { c.FS.AttrTTL, c.S3.OnConflict = time.Hour, s3io.ConflictKeep })
	b := w.other()
	for name, create := range makers {
		if name == "dir" {
			continue // has a marker of its own
		}
		_, err := os.Lstat(m.path(name))
		m.fails(err, syscall.ENOENT)
		w.put(b, name, "theirs")
		m.fails(create(m.path(name)), syscall.EEXIST)
		if o := w.head(b, name); o.Size != int64(len("theirs")) {
			t.Errorf("%s has %d bytes", name, o.Size)
		}
	}
	if keys := w.keys(); len(keys) != len(makers)-1 {
		t.Errorf("keys %q", keys)
	}
}

// A copy onto itself can change what an object is and leave the ETag alone.
func TestATypeThatChangesWithoutTheETag(t *testing.T) {
	f := &FS{o: Options{PosixAttrs: true}.withDefaults()}
	o := s3io.Object{Key: "x", ETag: `"1"`, Head: true, Meta: map[string]string{"mode": "33188"}}
	n := f.newFile(o)
	o.Meta = map[string]string{"mode": "4516"}
	if !n.becomes(o, 0) {
		t.Error("a file that became a FIFO is still a file")
	}
	n.pinned = 1
	if n.becomes(o, 0) {
		t.Error("an answer that crossed with a change here is believed")
	}
	n.unsaved = true
	if n.becomes(o, 1) {
		t.Error("a file with content to save is replaced")
	}
}

func TestTypesThatAListingCannotTell(t *testing.T) {
	f := &FS{o: Options{PosixAttrs: true}.withDefaults(), heads: newHeads(10), inos: make(map[uint64]node)}
	d := f.newRoot()
	listed := s3io.Object{Key: "x", ETag: `"1"`, LastModified: time.Unix(1, 0), Size: 3}
	ask := func(o s3io.Object) uint32 { return d.typeOf(entry{name: "x", component: "x", kind: isFile, obj: o}) }
	if typ := ask(listed); typ != 0 {
		t.Errorf("before HEAD it is %o", typ)
	}
	large := listed
	large.Size = targetMax + 1
	if typ := ask(large); typ != syscall.S_IFREG {
		t.Errorf("what is too large for a target is %o", typ)
	}
	known := listed
	known.Head, known.Meta = true, map[string]string{"mode": "41471"}
	f.heads.put(known, 0)
	if typ := ask(listed); typ != syscall.S_IFLNK {
		t.Errorf("after HEAD it is %o", typ)
	}
	f.o.PosixAttrs = false
	if typ := ask(listed); typ != syscall.S_IFREG {
		t.Errorf("without attributes it is %o", typ)
	}
	if typ := d.typeOf(entry{name: "y", kind: isDir}); typ != syscall.S_IFDIR {
		t.Errorf("a directory is %o", typ)
	}
}
