//go:build linux

package fs

import (
	"context"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kmsfs/kmsfs/s3io"
	"golang.org/x/sys/unix"
)

// as runs f with the file rights of another user, who has no way to the mount
// but the descriptor that f gets.
func (m *mount) as(uid, gid int, f func(dir int) error) error {
	m.t.Helper()
	dir, err := unix.Open(m.dir, unix.O_DIRECTORY|unix.O_PATH, 0)
	check(m.t, err)
	defer unix.Close(dir)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its rights
		err := syscall.Setfsgid(gid)
		if err == nil {
			err = syscall.Setfsuid(uid)
		}
		if err == nil {
			err = f(dir)
		}
		done <- err
	}()
	return <-done
}

func touch(path string, flag int) error {
	f, err := os.OpenFile(path, os.O_WRONLY|flag, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func TestSuidSgidAndSticky(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(c *served) { c.FS.AllowOther = true })
	mode := func(name string, want uint32) {
		t.Helper()
		if st := stat(t, m.path(name)); st.Mode&07777 != want {
			t.Errorf("%s has mode %o, want %o", name, st.Mode&07777, want)
		}
	}
	m.write("f", "content")
	m.write("empty", "")
	check(t, os.Chown(m.path("f"), 1234, 5678))
	for what, change := range map[string]func() error{
		"truncate":               func() error { return os.Truncate(m.path("f"), 3) },
		"chown":                  func() error { return os.Chown(m.path("f"), 1234, 5679) },
		"chown to the same user": func() error { return os.Chown(m.path("f"), 1234, -1) },
		"truncate to nothing":    func() error { return os.Truncate(m.path("f"), 0) },
		"O_TRUNC":                func() error { return touch(m.path("f"), os.O_TRUNC) },
		"O_TRUNC of nothing":     func() error { return touch(m.path("empty"), os.O_TRUNC) },
	} {
		check(t, unix.Chmod(m.path("empty"), 06755))
		check(t, unix.Chmod(m.path("f"), 06755))
		check(t, change())
		name := "f"
		if strings.HasSuffix(what, "of nothing") {
			name = "empty"
		}
		if st := stat(t, m.path(name)); st.Mode&07777 != 0755 {
			t.Errorf("after %s the mode is %o", what, st.Mode&07777)
		}
	}
	// sgid without the right to execute is no right: it stays.
	check(t, unix.Chmod(m.path("f"), 06745))
	check(t, os.Truncate(m.path("f"), 1))
	mode("f", 02745)

	check(t, os.Chown(m.path("f"), 1234, 5678))
	check(t, m.as(1234, 1234, func(dir int) error { return unix.Fchmodat(dir, "f", 02755, 0) }))
	mode("f", 0755) // not a member of the group
	check(t, m.as(1234, 5678, func(dir int) error { return unix.Fchmodat(dir, "f", 02755, 0) }))
	mode("f", 02755)
	m.fails(m.as(99, 99, func(dir int) error { return unix.Fchmodat(dir, "f", 0777, 0) }), syscall.EPERM)

	check(t, os.Mkdir(m.path("shared"), 0755))
	check(t, os.Chown(m.path("shared"), 0, 5678))
	check(t, unix.Chmod(m.path("shared"), 03777))
	check(t, m.as(1234, 1234, func(dir int) error { return unix.Mkdirat(dir, "shared/sub", 0755) }))
	check(t, m.as(1234, 1234, func(dir int) error { return unix.Mknodat(dir, "shared/fifo", syscall.S_IFIFO|0600, 0) }))
	check(t, m.as(1234, 1234, func(dir int) error { return unix.Symlinkat("x", dir, "shared/link") }))
	mode("shared/sub", 02755)
	for _, name := range []string{"shared/sub", "shared/fifo", "shared/link"} {
		if st := stat(t, m.path(name)); st.Uid != 1234 || st.Gid != 5678 {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
	m.fails(m.as(99, 99, func(dir int) error { return unix.Unlinkat(dir, "shared/link", 0) }), syscall.EPERM)
	m.fails(m.as(99, 99, func(dir int) error { return unix.Renameat(dir, "shared/fifo", dir, "shared/x") }), syscall.EPERM)
	check(t, m.as(1234, 1234, func(dir int) error { return unix.Unlinkat(dir, "shared/link", 0) }))

	names := []string{"f", "shared", "shared/sub", "shared/fifo"}
	before := m.lstats(names...)
	m.close()
	m = w.mount(nil)
	after := m.lstats(names...)
	delete(before, "shared") // the times that its entries gave it are not kept
	delete(after, "shared")
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("after a remount: %s", d)
	}
	mode("shared", 03777)
}

// The times that a directory gets from its entries are those of the mount that
// changed them, until it forgets the directory. What was set stays.
func TestTimesOfDirectories(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(c *served) { c.FS.AttrTTL = 0 })
	past := time.Unix(981173106, 123456789)
	check(t, os.Mkdir(m.path("d"), 0755))
	check(t, os.Mkdir(m.path("other"), 0755))
	m.write("other/in", "x")
	step := func(what string, moves bool, change func() error) {
		t.Helper()
		check(t, os.Chtimes(m.path("d"), past, past))
		set := stat(t, m.path("d"))
		if set.Mtim.Nano() != past.UnixNano() || time.Since(time.Unix(set.Ctim.Unix())) > time.Minute {
			t.Errorf("before %s: mtime %v, ctime %v", what, set.Mtim, set.Ctim)
		}
		check(t, change())
		now := stat(t, m.path("d"))
		if moved := now.Mtim != set.Mtim; moved != moves || (now.Ctim != set.Ctim) != moves || moves && now.Mtim != now.Ctim {
			t.Errorf("after %s: mtime %v, ctime %v, was %v, %v", what, now.Mtim, now.Ctim, set.Mtim, set.Ctim)
		}
	}
	step("create", true, func() error { return os.WriteFile(m.path("d/f"), []byte("x"), 0644) })
	step("write", false, func() error { return os.WriteFile(m.path("d/f"), []byte("y"), 0644) })
	step("chmod of an entry", false, func() error { return os.Chmod(m.path("d/f"), 0600) })
	step("mkdir", true, func() error { return os.Mkdir(m.path("d/sub"), 0755) })
	step("symlink", true, func() error { return os.Symlink("f", m.path("d/l")) })
	step("mknod", true, func() error { return syscall.Mkfifo(m.path("d/p"), 0644) })
	step("rename within", true, func() error { return os.Rename(m.path("d/f"), m.path("d/g")) })
	step("rename of a directory", true, func() error { return os.Rename(m.path("d/sub"), m.path("d/sub2")) })
	step("rename into", true, func() error { return os.Rename(m.path("other/in"), m.path("d/in")) })
	step("rename out of", true, func() error { return os.Rename(m.path("d/in"), m.path("other/in")) })
	step("unlink", true, func() error { return os.Remove(m.path("d/g")) })
	step("rmdir", true, func() error { return os.Remove(m.path("d/sub2")) })
	step("a change in a directory below", false, func() error { _, err := os.Lstat(m.path("d/l")); return err })

	check(t, os.Chtimes(m.path("d"), past, past))
	set := stat(t, m.path("d"))
	m.ask("drain")
	m.write("d/late", "x")
	if now := stat(t, m.path("d")); now.Mtim == set.Mtim {
		t.Error("a new entry does not show in the directory's time")
	}
	m.close()
	m = w.mount(func(c *served) { c.FS.AttrTTL = 0 })
	if now := stat(t, m.path("d")); now.Mtim != set.Mtim || now.Ctim != set.Ctim {
		t.Errorf("after a remount mtime %v, ctime %v, want what was set: %v, %v", now.Mtim, now.Ctim, set.Mtim, set.Ctim)
	}
	// What another host sets is shown, also if it is older.
	b := w.other()
	o := w.head(b, "d/")
	o.Meta["mtime"], o.Meta["ctime"] = "1000.5", "1001"
	_, err := b.Copy(context.Background(), o, "d/", s3io.Attrs{Meta: o.Meta}, ifMatch(o))
	check(t, err)
	if now := stat(t, m.path("d")); now.Mtim.Nano() != 1000_500_000_000 || now.Ctim.Nano() != 1001_000_000_000 {
		t.Errorf("another host's times are shown as mtime %v, ctime %v", now.Mtim, now.Ctim)
	}
}

// What rsync does with each file costs one upload and one copy, with each
// directory, whose times it sets last, one marker and one copy.
func TestAttributesOfATreeCostOneCopyEach(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	past := time.Unix(981173106, 123456789)
	finish := func(name string) {
		check(t, os.Lchown(m.path(name), 1234, 5678))
		check(t, unix.Chmod(m.path(name), 0751))
		check(t, os.Chtimes(m.path(name), past, past))
	}
	counts := func(when string, puts, copies int) {
		t.Helper()
		if c := w.box.Log.Counts(); c["PutObject"] != puts || c["CopyObject"] != copies {
			t.Errorf("%s: %d uploads and %d copies, want %d and %d; %v", when, c["PutObject"], c["CopyObject"], puts, copies, c)
		}
	}
	check(t, os.Mkdir(m.path("d"), 0700))
	check(t, os.Mkdir(m.path("d/sub"), 0700))
	for _, name := range []string{"a", "b"} {
		m.write("d/sub/."+name, name)
		finish("d/sub/." + name)
		check(t, os.Rename(m.path("d/sub/."+name), m.path("d/sub/"+name)))
	}
	check(t, os.Symlink("a", m.path("d/link")))
	check(t, os.Lchown(m.path("d/link"), 1234, 5678))
	check(t, unix.UtimesNanoAt(unix.AT_FDCWD, m.path("d/link"), []unix.Timespec{{}, {Sec: 5}}, unix.AT_SYMLINK_NOFOLLOW))
	finish("d/sub")
	finish("d")
	counts("before anything is due", 5, 2)
	d, err := os.Open(m.path("d"))
	check(t, err)
	check(t, d.Sync())
	check(t, d.Close())
	counts("after fsync of the directory", 5, 5)
	m.ask("drain")
	counts("after a drain", 5, 5)
	m.close()
	m = w.mount(nil)
	for _, name := range []string{"d", "d/sub", "d/sub/a"} {
		if st := stat(t, m.path(name)); st.Mode&07777 != 0751 || st.Uid != 1234 || st.Gid != 5678 || st.Mtim.Nano() != past.UnixNano() {
			t.Errorf("%s is %o %d:%d %v", name, st.Mode&07777, st.Uid, st.Gid, st.Mtim)
		}
	}
}

// TestWritingAfterTimesWereSet: also the time of a large file, which stands while it is
// written on, gives way to what utimens sets, and that to the next write.
func TestWritingAfterTimesWereSet(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	f, err := os.Create(m.path("f"))
	check(t, err)
	_, err = f.WriteAt([]byte("x"), 2*settledSize)
	check(t, err)
	past := time.Unix(1_200_000_000, 0)
	check(t, os.Chtimes(m.path("f"), past, past))
	_, err = f.WriteAt([]byte("y"), 1)
	check(t, err)
	check(t, f.Close())
	for range 2 { // as it was written, and as it was stored
		st, err := os.Stat(m.path("f"))
		check(t, err)
		if st.ModTime().Equal(past) {
			t.Error("a write left the time that was set before")
		}
		m.close()
		m = w.mount(nil)
	}
}
