package fs

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/kmsfs/kmsfs/s3io"
)

// isName fails unless the kernel can be shown name: nothing that is shown
// leads out of its directory.
func isName(t *testing.T, name string) {
	t.Helper()
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || len(name) > nameMax {
		t.Errorf("%q is no name", name)
	}
}

// FuzzName: a component of a key that is shown is found again under its name,
// and a name that is taken stands for one component alone.
func FuzzName(f *testing.F) {
	for _, seed := range pieces {
		f.Add(seed)
	}
	for _, seed := range []string{"a/b", "../../etc/passwd", "\x1b[2J", odd + "%2E%2E", odd + "..", quote + "2F", shadow, ".kmsfs", "a" + shadow + shadow, "\u202etxt.exe"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, ok := nameOf(s); ok {
			isName(t, name)
			if back, hidden, ok := componentOf(name); back != s || hidden || !ok {
				t.Errorf("%q is shown as %q, which stands for %q", s, name, back)
			}
		}
		if name, ok := shadowOf(s); ok {
			isName(t, name)
			if back, hidden, ok := componentOf(name); back != s || !hidden || !ok {
				t.Errorf("hidden %q is shown as %q, which stands for %q", s, name, back)
			}
		}
		component, hidden, ok := componentOf(s)
		if !ok || strings.ContainsAny(s, "/\x00") || s == "." || s == ".." || len(s) > nameMax {
			return
		}
		if !utf8.ValidString(component) || strings.Contains(component, "/") {
			t.Errorf("%q stands for %q, which is no part of a key", s, component)
		}
		show := nameOf
		if hidden {
			show = shadowOf
		}
		if back, shown := show(component); shown && back != s {
			t.Errorf("%q stands for %q, which is shown as %q", s, component, back)
		}
	})
}

// FuzzAttributes: what other tools wrote as attributes is understood or as if
// it were absent, and stays the same when it is written back.
func FuzzAttributes(f *testing.F) {
	f.Add("33188", "1000", "100", "1700000000", "1700000001.5", "", false)
	f.Add("100755", "-1", "4294967296", "2023-11-14T22:13:20Z", "-0.5", "80a1", false)
	f.Add("24996", "", "", "9223372036854775807.999999999", "-9223372036854775808", "ffffffff", false)
	f.Add("41471", "0", "0", "1e9", "1.", ".5", true)
	f.Add("177777", "0x1", "+1", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "-1", true)
	f.Fuzz(func(t *testing.T, mode, uid, gid, mtime, ctime, rdev string, isDir bool) {
		known := attributes{typ: dirType(isDir), mode: 0o644, uid: 7, gid: 7, mtime: time.Unix(1, 0), ctime: time.Unix(1, 0)}
		typ := uint32(syscall.S_IFREG)
		if isDir {
			typ = syscall.S_IFDIR
		}
		meta := map[string]string{metaMode: mode, metaUID: uid, metaGID: gid, metaMtime: mtime, metaCtime: ctime, metaRdev: rdev}
		a := attributesOf(meta, known)
		if a.mode&^uint32(07777) != 0 || isDir != (a.typ == syscall.S_IFDIR) || a.rdev != 0 && !a.isDevice() {
			t.Errorf("%q is %+v", meta, a)
		}
		var out fuse.Attr
		a.fill(&out, typ, 5)
		if out.Mode&syscall.S_IFMT == 0 {
			t.Errorf("%q is of no type", meta)
		}
		again := attributesOf(a.meta(meta, typ), known)
		if !a.mtime.Equal(again.mtime) || !a.ctime.Equal(again.ctime) {
			t.Errorf("times %v %v become %v %v", a.mtime, a.ctime, again.mtime, again.ctime)
		}
		again.mtime, again.ctime = a.mtime, a.ctime
		if diff := cmp.Diff(a, again, cmp.AllowUnexported(attributes{})); diff != "" {
			t.Errorf("%q becomes %s", meta, diff)
		}
	})
}

// FuzzEntries: whatever keys a server lists, in whatever order and however often,
// what a directory shows are names, each of one component.
func FuzzEntries(f *testing.F) {
	f.Add("a\nb\nx/\nx\nx-1", "x\nz", byte(2))
	f.Add("../\n..\n.\n/\n//\n\n\x00\n"+odd+"%2E%2E\n"+shadow, ".kmsfs/", byte(1))
	f.Add("b\na\na\nx/y/\nx/\nx\nx", "x\nx", byte(3))
	f.Fuzz(func(t *testing.T, keys, local string, size byte) {
		left := strings.Split(keys, "\n")
		page := func(context.Context, s3io.ListQuery) (p s3io.ListPage, _ error) {
			n := min(int(size)+1, len(left))
			for _, k := range left[:n] {
				if strings.HasSuffix(k, "/") {
					p.Prefixes = append(p.Prefixes, "dir/"+k)
				} else {
					p.Objects = append(p.Objects, s3io.Object{Key: "dir/" + k})
				}
			}
			if left = left[n:]; len(left) > 0 {
				p.Token = "more"
			}
			return p, nil
		}
		l := &listing{prefix: "dir/", skip: func(c string) bool { return c == reservedName }, page: page, local: strings.Split(local, "\n")}
		for {
			batch, err := l.next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(batch) == 0 {
				return
			}
			for _, e := range batch {
				isName(t, e.name)
				if e.component == reservedName {
					t.Error("what is reserved is shown")
				}
			}
		}
	})
}
