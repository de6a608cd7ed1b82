//go:build linux

package fs

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// objectScope is sealed with the names of objects bound to their content.
func objectScope(c *served) {
	sealed(c)
	c.S3.Envelope.Scope = crypto.ScopeObject
}

func TestSealedFilesShowWhatTheyAre(t *testing.T) {
	w := newWorld(t)
	m := w.mount(sealed)
	m.write("f", "content")
	key := w.box.KMS.KeyARN(sandbox.KeyAlias)
	for name, want := range map[string]string{
		"user.kmsfs.format":             "envelope",
		"user.kmsfs.kms_key_id":         key,
		"user.kmsfs.envelope_key_ids":   key,
		"user.kmsfs.encryption_context": `{"aws:s3:arn":"arn:aws:s3:::demo"}`,
	} {
		if got := xattr(t, m.path("f"), name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if st := stat(t, m.path("f")); st.Size != 7 {
		t.Errorf("size %d, want 7", st.Size)
	}
	m.close()
	m = w.mount(nil)
	if got := xattr(t, m.path("f"), "user.kmsfs.format"); got != "plain" {
		t.Errorf("without envelope mode the format is %q", got)
	}
	if st := stat(t, m.path("f")); st.Size != 1024+40+7 {
		t.Errorf("without envelope mode the size is %d", st.Size)
	}
}

// Without a cache every open asks KMS: a disabled key bites at once, where the
// old content is needed.
func TestOpenNeedsTheKey(t *testing.T) {
	w := newWorld(t)
	m := w.mount(sealed)
	for _, name := range []string{"f", "g", "open"} {
		m.write(name, "content of "+name)
	}
	open, err := os.Open(m.path("open"))
	check(t, err)
	defer open.Close()
	if n := w.box.Log.Count("Decrypt"); n != 1 {
		t.Errorf("%d Decrypt for one open", n)
	}
	key := w.box.KMS.KeyARN(sandbox.KeyAlias)
	check(t, w.box.KMS.Disable(key))
	whole, err := io.ReadAll(open) // needs the key no more
	if err != nil || string(whole) != "content of open" {
		t.Errorf("read of what was open before: %q, %v", whole, err)
	}
	_, err = os.ReadFile(m.path("f"))
	m.fails(err, syscall.EKEYREVOKED)
	_, err = os.OpenFile(m.path("f"), os.O_WRONLY|os.O_APPEND, 0)
	m.fails(err, syscall.EKEYREVOKED)
	if st := stat(t, m.path("f")); st.Size != 12 {
		t.Errorf("size %d", st.Size)
	}
	check(t, os.Rename(m.path("f"), m.path("moved"))) // copies within S3
	check(t, os.Remove(m.path("moved")))
	f, err := os.OpenFile(m.path("g"), os.O_WRONLY|os.O_TRUNC, 0) // needs no old content
	check(t, err)
	m.fails(f.Close(), syscall.EKEYREVOKED) // but a data key
	check(t, w.box.KMS.Enable(key))
	m.wants("g", "content of g")
	m.write("g", "")
	m.wants("g", "")
}

// New content carries the attributes over: that they cannot be opened is told
// before it is written, not when it is closed.
func TestReplacingNeedsTheAttributes(t *testing.T) {
	w := newWorld(t)
	m := w.mount(sealed)
	for _, name := range []string{"f", "with"} {
		m.write(name, "content")
	}
	check(t, syscall.Setxattr(m.path("with"), "user.a", []byte("1"), 0))
	m.close()
	m = w.mount(sealed)
	undo := w.box.Denials.Deny("kms:Decrypt", w.box.KMS.KeyARN(sandbox.KeyAlias))
	_, err := os.OpenFile(m.path("with"), os.O_WRONLY|os.O_TRUNC, 0)
	m.fails(err, syscall.EACCES)
	m.write("f", "replaced")
	check(t, os.Remove(m.path("with")))
	m.write("with", "made anew")
	undo()
}

// Where the mount asks only for listings, no header is known when a file is
// opened: then the kernel must not answer from its pages.
func TestTheKeyBitesWithoutHeaders(t *testing.T) {
	w := newWorld(t)
	listed := func(c *served) { sealed(c); c.FS.PosixAttrs = false }
	m := w.mount(listed)
	m.write("f", "content")
	m.close()
	m = w.mount(listed)
	_, err := os.ReadDir(m.dir)
	check(t, err)
	m.wants("f", "content")
	check(t, w.box.KMS.Disable(w.box.KMS.KeyARN(sandbox.KeyAlias)))
	_, err = os.ReadFile(m.path("f"))
	m.fails(err, syscall.EKEYREVOKED)
}

func TestForeignObjects(t *testing.T) {
	w := newWorld(t)
	b := w.other()
	large := strings.Repeat("p", 9<<20)
	for name, content := range map[string]string{"small": "plain", "fits": strings.Repeat("p", 2000), "large": large, "empty": ""} {
		w.put(b, name, content)
	}
	m := w.mount(sealed)
	for name, size := range map[string]int64{"small": 5, "fits": 2000, "large": 9 << 20, "empty": 0} {
		if st := stat(t, m.path(name)); st.Size != size {
			t.Errorf("%s has size %d, want %d", name, st.Size, size)
		}
		_, err := os.ReadFile(m.path(name))
		m.fails(err, syscall.EKEYREJECTED)
		_, err = os.OpenFile(m.path(name), os.O_WRONLY, 0)
		m.fails(err, syscall.EKEYREJECTED)
		m.fails(os.Chmod(m.path(name), 0600), syscall.EKEYREJECTED)
		m.fails(syscall.Setxattr(m.path(name), "user.a", []byte("1"), 0), syscall.EKEYREJECTED)
		if got := xattr(t, m.path(name), "user.kmsfs.format"); got != "foreign" {
			t.Errorf("%s has the format %q", name, got)
		}
	}
	m.fails(os.Rename(m.path("small"), m.path("other")), syscall.EKEYREJECTED)
	m.write("empty", "sealed now") // replaces
	m.wants("empty", "sealed now")
	m.write("small", "sealed now")
	m.wants("small", "sealed now")
	check(t, os.Rename(m.path("small"), m.path("fits")))
	m.wants("fits", "sealed now")
	check(t, os.Remove(m.path("large")))
	if keys := w.keys(); !cmp.Equal(keys, []string{"empty", "fits"}) {
		t.Errorf("keys %q", keys)
	}
}

func TestForeignObjectsCanBeRead(t *testing.T) {
	w := newWorld(t)
	b := w.other()
	large := strings.Repeat("p", 9<<20)
	w.put(b, "fits", strings.Repeat("p", 2000))
	w.put(b, "large", large)
	m := w.mount(func(c *served) { sealed(c); c.S3.Envelope.PassForeign = true })
	m.wants("fits", strings.Repeat("p", 2000))
	m.wants("large", large)
	_, err := os.OpenFile(m.path("large"), os.O_WRONLY|os.O_APPEND, 0)
	m.fails(err, syscall.EROFS)
	m.fails(os.Truncate(m.path("large"), 100), syscall.EROFS)
	m.fails(os.Chmod(m.path("large"), 0600), syscall.EROFS)
	f, err := os.Open(m.path("large"))
	check(t, err)
	check(t, os.Remove(m.path("large")))
	check(t, f.Close())
	check(t, os.Truncate(m.path("fits"), 0))
	appendTo(t, m.path("fits"), "sealed")
	m.wants("fits", "sealed")
}

func TestObjectScopeRewrites(t *testing.T) {
	w := newWorld(t)
	m := w.mount(objectScope)
	m.write("f", "content")
	setXattr(t, m.path("f"), "user.n", "of f")
	m.write("over", "old")
	check(t, os.Rename(m.path("f"), m.path("over")))
	m.wants("over", "content")
	large := strings.Repeat("l", rewriteLimit+1)
	m.write("large", large)
	check(t, os.MkdirAll(m.path("d/e"), 0755))
	setXattr(t, m.path("d"), "user.n", "of d")
	check(t, os.Rename(m.path("d"), m.path("dirs"))) // has no content
	check(t, os.Mkdir(m.path("full"), 0755))
	m.write("full/x", "x")
	w.box.Log.Reset()
	m.fails(os.Rename(m.path("large"), m.path("larger")), syscall.EXDEV)
	m.fails(os.Rename(m.path("full"), m.path("fuller")), syscall.EXDEV)
	f, err := os.Create(m.path("dirs/new"))
	check(t, err)
	m.fails(os.Rename(m.path("dirs"), m.path("again")), syscall.EXDEV) // the file is not in S3 yet
	if c := w.box.Log.Counts(); c["CopyObject"]+c["PutObject"]+c["GetObject"]+c["CreateMultipartUpload"] != 0 {
		t.Errorf("something was copied: %v", c)
	}
	check(t, f.Close())
	m.close()
	m = w.mount(objectScope)
	m.wants("over", "content")
	m.wants("full/x", "x")
	if a, b := xattr(t, m.path("over"), "user.n"), xattr(t, m.path("dirs"), "user.n"); a != "of f" || b != "of d" {
		t.Errorf("user.n is %q and %q", a, b)
	}
	if st := stat(t, m.path("large")); st.Size != rewriteLimit+1 {
		t.Errorf("size of large: %d", st.Size)
	}
}

// An unlinked open file lives on under a name of its own, to which its content
// has to be bound.
func TestObjectScopeKeepsUnlinkedFiles(t *testing.T) {
	w := newWorld(t)
	m := w.mount(objectScope)
	content := strings.Repeat("u", heldFile+1)
	m.write("f", content)
	f, err := os.Open(m.path("f"))
	check(t, err)
	check(t, os.Remove(m.path("f")))
	got := make([]byte, len(content))
	if _, err := f.ReadAt(got, 0); err != nil || string(got) != content {
		t.Errorf("read of the unlinked file: %v", err)
	}
	check(t, f.Close())
}
