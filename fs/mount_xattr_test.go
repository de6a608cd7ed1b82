//go:build linux

package fs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
	"github.com/kmsfs/kmsfs/s3io"
	"golang.org/x/sys/unix"
)

// sealed makes a mount seal what it writes, and do without SSE headers.
func sealed(c *served) {
	c.S3.Policy = s3io.Policy{}
	c.S3.Envelope = &s3io.Envelope{KeyIDs: []string{sandbox.KeyAlias}}
}

// inBothModes runs a test with content as it is, and sealed.
func inBothModes(t *testing.T, f func(t *testing.T, mode func(*served))) {
	t.Run("plain", func(t *testing.T) { f(t, func(*served) {}) })
	t.Run("sealed", func(t *testing.T) { f(t, sealed) })
}

// xattr returns an attribute as text, "absent" where there is none.
func xattr(t *testing.T, path, name string) string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Getxattr(path, name, buf)
	if errors.Is(err, unix.ENODATA) {
		return "absent"
	}
	check(t, err)
	return string(buf[:n])
}

// xattrNames returns the names that listxattr gives, joined.
func xattrNames(t *testing.T, path string) string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Listxattr(path, buf)
	check(t, err)
	return strings.ReplaceAll(string(buf[:n]), "\x00", " ")
}

func setXattr(t *testing.T, path, name, value string) {
	t.Helper()
	check(t, unix.Setxattr(path, name, []byte(value), 0))
}

func TestXattrsAnswerAsTheManPagesSay(t *testing.T) {
	inBothModes(t, func(t *testing.T, mode func(*served)) {
		m := newWorld(t).mount(mode)
		m.write("f", "content")
		check(t, os.Mkdir(m.path("d"), 0755))
		for _, path := range []string{m.path("f"), m.path("d")} {
			m.fails(unix.Setxattr(path, "user.a", []byte("1"), unix.XATTR_REPLACE), unix.ENODATA)
			check(t, unix.Setxattr(path, "user.a", []byte("1"), unix.XATTR_CREATE))
			m.fails(unix.Setxattr(path, "user.a", []byte("2"), unix.XATTR_CREATE), unix.EEXIST)
			check(t, unix.Setxattr(path, "user.a", []byte("three"), unix.XATTR_REPLACE))
			setXattr(t, path, "user.empty", "")
			if got := xattr(t, path, "user.a"); got != "three" {
				t.Errorf("user.a is %q", got)
			}
			if got := xattrNames(t, path); got != "user.a user.empty " {
				t.Errorf("listed: %q", got)
			}
			_, err := unix.Getxattr(path, "user.a", make([]byte, 4))
			m.fails(err, unix.ERANGE)
			_, err = unix.Listxattr(path, make([]byte, 4))
			m.fails(err, unix.ERANGE)
			n, err := unix.Getxattr(path, "user.a", nil)
			if err != nil || n != 5 {
				t.Errorf("size of user.a: %d, %v", n, err)
			}
			check(t, unix.Removexattr(path, "user.a"))
			m.fails(unix.Removexattr(path, "user.a"), unix.ENODATA)
			if got := xattr(t, path, "user.a"); got != "absent" {
				t.Errorf("user.a is %q after it was removed", got)
			}
			m.fails(unix.Setxattr(path, "user.big", make([]byte, 2049), 0), unix.ENOSPC)
			m.fails(unix.Setxattr(path, "user.kmsfs.sse", []byte("none"), 0), unix.EPERM)
			m.fails(unix.Removexattr(path, "user.kmsfs.sse"), unix.EPERM)
			m.fails(unix.Setxattr(path, "user.\xff", []byte("1"), 0), unix.EINVAL)
			for name, value := range map[string]string{"security.selinux": "x", "trusted.x": "x", "system.posix_acl_access": "\x02\x00\x00\x00"} {
				m.fails(unix.Setxattr(path, name, []byte(value), 0), unix.ENOTSUP)
			}
		}
		m.fails(unix.Setxattr(m.dir, "user.a", []byte("1"), 0), unix.ENOTSUP)
	})
}

func TestXattrsStay(t *testing.T) {
	inBothModes(t, func(t *testing.T, mode func(*served)) {
		w := newWorld(t)
		m := w.mount(mode)
		f, err := os.Create(m.path("new"))
		check(t, err)
		check(t, unix.Fsetxattr(int(f.Fd()), "user.n", []byte("before the first commit"), 0))
		check(t, errors.Join(func() error { _, err := f.WriteString("x"); return err }(), f.Close()))
		large := strings.Repeat("l", 9<<20)
		for _, name := range []string{"changed", "large"} {
			m.write(name, large[:len(large)*len(name)/10])
			setXattr(t, m.path(name), "user.n", name)
		}
		m.write("large", large) // in parts, over the object that has them
		check(t, os.Mkdir(m.path("d"), 0755))
		setXattr(t, m.path("d"), "user.n", "of a directory")
		m.write("d/f", "x")
		setXattr(t, m.path("d/f"), "user.n", "moved")
		setXattr(t, m.path("changed"), "user.m", "another")
		appendTo(t, m.path("changed"), "more")
		check(t, os.Rename(m.path("changed"), m.path("renamed")))
		check(t, os.Rename(m.path("d"), m.path("e")))
		check(t, os.Chmod(m.path("renamed"), 0600))
		m.close()
		m = w.mount(mode)
		for name, want := range map[string]string{"new": "before the first commit", "renamed": "changed", "large": "large", "e": "of a directory", "e/f": "moved"} {
			if got := xattr(t, m.path(name), "user.n"); got != want {
				t.Errorf("user.n of %s is %q after a remount, want %q", name, got, want)
			}
		}
		check(t, unix.Removexattr(m.path("renamed"), "user.n"))
		if got := xattrNames(t, m.path("renamed")); got != "user.m " {
			t.Errorf("listed after a remount: %q", got)
		}
		m.close()
		m = w.mount(mode)
		if got := xattrNames(t, m.path("renamed")); got != "user.m " {
			t.Errorf("listed after the second remount: %q", got)
		}
		m.wants("large", large)
	})
}

func TestXattrsAreMergedIntoOneCopy(t *testing.T) {
	inBothModes(t, func(t *testing.T, mode func(*served)) {
		w := newWorld(t)
		m := w.mount(mode)
		m.write("f", "content")
		w.box.Log.Reset()
		setXattr(t, m.path("f"), "user.a", "1")
		check(t, os.Chmod(m.path("f"), 0600))
		setXattr(t, m.path("f"), "user.b", "2")
		check(t, os.Rename(m.path("f"), m.path("g")))
		check(t, unix.Setxattr(m.path("g"), "user.c", []byte("3"), 0))
		f, err := os.Open(m.path("g"))
		check(t, err)
		check(t, errors.Join(f.Sync(), f.Close()))
		if n := w.box.Log.Count("CopyObject"); n != 2 {
			t.Errorf("%d copies, want one of the rename and one of fsync: %v", n, w.box.Log.Counts())
		}
	})
}

func TestXattrsOfUnlinkedOpenFiles(t *testing.T) {
	inBothModes(t, func(t *testing.T, mode func(*served)) {
		w := newWorld(t)
		m := w.mount(mode)
		for name, size := range map[string]int{"held": 10, "copied": heldFile + 1} {
			m.write(name, strings.Repeat("x", size))
			setXattr(t, m.path(name), "user.n", name)
		}
		m.close()
		m = w.mount(mode) // knows no attributes yet
		for _, name := range []string{"held", "copied"} {
			f, err := os.OpenFile(m.path(name), os.O_RDWR, 0)
			check(t, err)
			check(t, os.Remove(m.path(name)))
			buf := make([]byte, 100)
			n, err := unix.Fgetxattr(int(f.Fd()), "user.n", buf)
			if got := string(buf[:max(n, 0)]); err != nil || got != name {
				t.Errorf("user.n of the unlinked %s is %q, %v", name, got, err)
			}
			check(t, unix.Fsetxattr(int(f.Fd()), "user.n", []byte("other"), 0))
			check(t, f.Close())
		}
		m.close()
		if keys := w.keys(); len(keys) != 0 {
			t.Errorf("left: %q", keys)
		}
	})
}

// A copy whose source could not be removed is undone in the tree, and the
// attributes that went with it are written again.
func TestXattrsOfARenameThatFailed(t *testing.T) {
	w := newWorld(t)
	m := w.mount(sealed)
	m.write("f", "content")
	setXattr(t, m.path("f"), "user.n", "late")
	w.box.Faults.Add(wire.Fault{Op: "DeleteObject", Kind: wire.Answer, Status: 403, Code: "AccessDenied", Times: 1})
	m.fails(os.Rename(m.path("f"), m.path("g")), syscall.EACCES)
	m.close()
	m = w.mount(sealed)
	if got := xattr(t, m.path("f"), "user.n"); got != "late" {
		t.Errorf("user.n is %q", got)
	}
}

// Attributes that another host changed are seen, and theirs win over a pending
// change.
func TestXattrsOfAnotherHost(t *testing.T) {
	w := newWorld(t)
	fresh := func(c *served) { c.FS.AttrTTL = 0 }
	m := w.mount(fresh)
	m.write("f", "content")
	setXattr(t, m.path("f"), "user.n", "ours")
	f, err := os.Open(m.path("f"))
	check(t, err)
	defer f.Close()
	check(t, f.Sync())
	b := w.other()
	theirs := func(value string) {
		t.Helper()
		o := w.head(b, "f")
		a := attrsOf(o)
		a.Xattrs = map[string][]byte{"user.n": []byte(value)}
		_, err := b.Copy(context.Background(), o, "f", a, ifMatch(o))
		check(t, err)
	}
	theirs("theirs")
	if got := xattr(t, m.path("f"), "user.n"); got != "theirs" {
		t.Errorf("user.n is %q", got)
	}
}

// What S3 and the header say is shown, on directories of their markers, and
// where they say nothing there is no attribute.
func TestXattrsShowTheEncryption(t *testing.T) {
	inBothModes(t, func(t *testing.T, mode func(*served)) {
		w := newWorld(t)
		m := w.mount(mode)
		m.write("f", "content")
		check(t, os.Mkdir(m.path("d"), 0755))
		key := w.box.KMS.KeyARN(sandbox.KeyAlias)
		want := map[string]map[string]string{}
		for name, at := range map[string]string{"f": "f", "d": "d/"} {
			o := w.head(w.other(), at)
			want[name] = map[string]string{"sse": o.Encryption.Algorithm, "kms_key_id": cmp.Or(o.Encryption.KeyID, "absent"),
				"bucket_key": fmt.Sprint(o.Encryption.Algorithm == s3io.ModeKMS), "format": "plain",
				"etag": o.ETag, "version_id": cmp.Or(o.VersionID, "absent"),
				"encryption_context": "absent", "envelope_key_ids": "absent", "last_error": "absent", "mode": "absent"}
		}
		if f := want["f"]; f["sse"] != s3io.ModeKMS {
			f["format"], f["kms_key_id"], f["envelope_key_ids"] = "envelope", key, key
			f["encryption_context"] = `{"aws:s3:arn":"arn:aws:s3:::demo"}`
		}
		shown := func(way string) {
			for name, all := range want {
				for attr, value := range all {
					if got := xattr(t, m.path(name), xattrPrefix+attr); got != value {
						t.Errorf("%s: %s of %s is %q, want %q", way, attr, name, got, value)
					}
				}
			}
		}
		shown("known")
		m.close()
		m = w.mount(func(c *served) { mode(c); c.FS.PosixAttrs = false })
		shown("asked for")
		if got := xattrNames(t, m.path("f")); got != "" {
			t.Errorf("listed: %q", got)
		}
	})
}

// s3fs keeps attributes as URL-encoded JSON of base64 in one metadata value.
func TestXattrsOfS3fs(t *testing.T) {
	w := newWorld(t)
	b := w.other()
	_, err := b.Put(context.Background(), "f", strings.NewReader("x"), 1, s3io.Attrs{Meta: map[string]string{
		"xattr": "%7B%22user.color%22%3A%22Ymx1ZQ%3D%3D%22%2C%22security.x%22%3A%22eA%3D%3D%22%7D"}}, s3io.Condition{})
	check(t, err)
	m := w.mount(nil)
	if got := xattr(t, m.path("f"), "user.color"); got != "blue" {
		t.Errorf("user.color is %q", got)
	}
	if got := xattrNames(t, m.path("f")); got != "user.color " {
		t.Errorf("listed: %q", got)
	}
	setXattr(t, m.path("f"), "user.shape", "round")
	m.close()
	if got := w.head(b, "f").Meta["xattr"]; !strings.Contains(got, "security.x") || !strings.Contains(got, "user.shape") {
		t.Errorf("stored: %q", got)
	}
}

func TestXattrsOff(t *testing.T) {
	m := newWorld(t).mount(func(c *served) { c.FS.NoXattrs = true })
	m.write("f", "content")
	m.fails(unix.Setxattr(m.path("f"), "user.a", []byte("1"), 0), unix.ENOTSUP)
	if got := xattrNames(t, m.path("f")); got != "" {
		t.Errorf("listed: %q", got)
	}
	if got := xattr(t, m.path("f"), "user.kmsfs.format"); got != "plain" {
		t.Errorf("format %q", got)
	}
}

// Without POSIX attributes extended ones are kept all the same.
func TestXattrsWithoutPosixAttrs(t *testing.T) {
	w := newWorld(t)
	uniform := func(c *served) { sealed(c); c.FS.PosixAttrs = false }
	m := w.mount(uniform)
	m.write("f", "content")
	check(t, os.Mkdir(m.path("d"), 0755))
	setXattr(t, m.path("f"), "user.n", "1")
	setXattr(t, m.path("d"), "user.n", "2")
	m.close()
	m = w.mount(uniform)
	if a, b := xattr(t, m.path("f"), "user.n"), xattr(t, m.path("d"), "user.n"); a != "1" || b != "2" {
		t.Errorf("user.n is %q and %q", a, b)
	}
	if meta := w.head(w.other(), "f").Meta; meta["mode"] != "" || meta["mtime"] != "" {
		t.Errorf("POSIX attributes were stored: %v", meta)
	}
	m.close()
}

// stat, ls and the listing of names wait for no KMS.
func TestStatWaitsForNoKMS(t *testing.T) {
	w := newWorld(t)
	m := w.mount(sealed)
	m.write("f", "content")
	setXattr(t, m.path("f"), "user.n", "1")
	m.close()
	m = w.mount(sealed)
	w.box.Faults.Add(wire.Fault{Op: "Decrypt", Kind: wire.Hang})
	done := make(chan error, 1)
	go func() {
		_, err := os.Stat(m.path("f"))
		entries, err2 := os.ReadDir(m.dir)
		if err2 == nil && len(entries) == 1 {
			_, err2 = entries[0].Info()
		}
		done <- errors.Join(err, err2)
	}()
	select {
	case err := <-done:
		check(t, err)
	case <-time.After(20 * time.Second):
		t.Error("stat waits for KMS")
	}
	w.box.Faults.Clear()
}
