package s3io

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/crypto"
)

// TestCopyCarriesTheMessage renames and changes attributes: content, header,
// sealed attributes and count of splices stay, and nothing of them is shown as
// user metadata.
func TestCopyCarriesTheMessage(t *testing.T) {
	s := newStage(t)
	b := s.vault(nil)
	b.copyLimit, b.partCopy = 1<<20, minPart
	for name, size := range map[string]int{"small": 100_000, "by parts": 6 << 20} {
		t.Run(name, func(t *testing.T) {
			plain := noise(size)
			sealed, h := s.seal(b, "src", plain, false)
			meta := inMeta(h)
			meta["mode"], meta[metaSpliced] = "33188", "7"
			s.plant(b, "src", sealed, meta)
			src, err := b.Head(s.ctx, "src")
			if err != nil || src.Spliced != 7 || len(src.Meta) != 1 {
				t.Fatalf("%+v, %v", src, err)
			}
			src, err = b.Copy(s.ctx, src, "src", Attrs{Meta: src.Meta, Xattrs: map[string][]byte{"user.a": {0, 1}, "user.secret": []byte("marked text")}}, Condition{})
			if err != nil {
				t.Fatal(err)
			}
			copied, err := b.Copy(s.ctx, src, "dst "+name, Attrs{Meta: map[string]string{"mode": "1"}}, Condition{IfAbsent: true})
			if err != nil {
				t.Fatal(err)
			}
			head, err := b.Head(s.ctx, "dst "+name)
			if err != nil {
				t.Fatal(err)
			}
			copied.LastModified = head.LastModified
			if diff := cmp.Diff(copied, head); diff != "" {
				t.Errorf("Copy and Head disagree (-copy +head):\n%s", diff)
			}
			if head.Spliced != 7 || !head.Header.Equal(h) || head.Size != int64(size) || len(head.Meta) != 1 || strings.Contains(head.Xattrs, "marked") {
				t.Errorf("copy is %+v", head)
			}
			if got, err := s.readAll(b, head); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			xattrs, err := b.Xattrs(s.ctx, head)
			if err != nil || string(xattrs["user.secret"]) != "marked text" || len(xattrs) != 2 {
				t.Errorf("xattrs are %q, %v", xattrs, err)
			}
		})
	}
}

// TestCopyAddsTheHeader brings the header of an object that lost it into the
// metadata, unless there is no room.
func TestCopyAddsTheHeader(t *testing.T) {
	s := newStage(t)
	b := s.vault(nil)
	plain := noise(5000)
	sealed, h := s.seal(b, "src", plain, false)
	s.plant(b, "src", sealed, nil)
	for _, c := range []struct {
		note string
		want []string
	}{
		{"short", []string{"HeadObject"}},
		{strings.Repeat("x", 1800), []string{"HeadObject", "GetObject 0-1023"}},
	} {
		o, err := b.Copy(s.ctx, Object{Key: "src"}, "dst", Attrs{Meta: map[string]string{"note": c.note}}, Condition{})
		if err != nil || !o.Header.Equal(h) {
			t.Fatalf("%+v, %v", o, err)
		}
		s.box.Log.Reset()
		head, err := b.Head(s.ctx, "dst")
		if err != nil || !head.Header.Equal(h) || head.Meta["note"] != c.note {
			t.Errorf("%+v, %v", head, err)
		}
		if diff := cmp.Diff(c.want, s.asked()); diff != "" {
			t.Error(diff)
		}
	}
	_, err := b.Copy(s.ctx, Object{Key: "src"}, "dst", Attrs{Meta: map[string]string{"note": strings.Repeat("x", 2050)}}, Condition{})
	wantKind(t, err, NoSpace)
}

// TestForeignIsNotCopied neither renames what is not sealed nor passes it off
// as a file.
func TestForeignIsNotCopied(t *testing.T) {
	s := newStage(t)
	b := s.vault(nil)
	open := s.vault(func(o *Options) { o.Envelope.PassForeign = true })
	for _, size := range []int{10, 5000} {
		text := noise(size)
		s.plant(b, "theirs", text, nil)
		o, err := b.Head(s.ctx, "theirs")
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Copy(s.ctx, o, "dst", Attrs{}, Condition{})
		wantKind(t, err, KeyRejected)
		_, err = open.Copy(s.ctx, o, "dst", Attrs{}, Condition{})
		wantKind(t, err, KeyRejected)
		_, err = s.readAll(b, o)
		wantKind(t, err, KeyRejected)
		wantText(t, err, "--foreign read-only")
		wantKind(t, b.Unlock(s.ctx, o), KeyRejected)
		if got, err := s.readAll(open, o); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if err := open.Unlock(s.ctx, o); err != nil {
			t.Error(err)
		}
		if err := b.Delete(s.ctx, o); err != nil {
			t.Error(err)
		}
	}
}

// TestXattrsOfDirectories are sealed under a message of their own, which goes
// with the marker.
func TestXattrsOfDirectories(t *testing.T) {
	s := newStage(t)
	b := s.vault(nil)
	want := map[string][]byte{"user.secret": []byte("marked text")}
	o, err := b.Put(s.ctx, "dir/", bytes.NewReader(nil), 0, Attrs{Xattrs: want, Meta: map[string]string{"mode": "16877"}}, Condition{IfAbsent: true})
	if err != nil {
		t.Fatal(err)
	}
	if o, err = b.Copy(s.ctx, o, "new/", Attrs{Meta: o.Meta}, Condition{}); err != nil {
		t.Fatal(err)
	}
	head, err := b.Head(s.ctx, "new/")
	if err != nil || head.Form != Plain || head.Size != 0 || len(head.Meta) != 1 || head.Header == nil {
		t.Fatalf("%+v, %v", head, err)
	}
	if got, err := b.Xattrs(s.ctx, Object{Key: "new/"}); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	bound := s.vault(func(o *Options) { o.Envelope.Scope = crypto.ScopeObject })
	o, err = bound.Put(s.ctx, "bound/", bytes.NewReader(nil), 0, Attrs{Xattrs: want}, Condition{})
	if err != nil {
		t.Fatal(err)
	}
	if o, err = bound.Copy(s.ctx, o, "bound again/", Attrs{}, Condition{}); err != nil {
		t.Fatal(err)
	}
	if got, err := bound.Xattrs(s.ctx, o); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	o, err = b.Copy(s.ctx, head, "new/", Attrs{Xattrs: map[string][]byte{}}, Condition{})
	if err != nil || o.Header != nil || o.Xattrs != "" {
		t.Errorf("without: %+v, %v", o, err)
	}
	_, err = b.Copy(s.ctx, head, "new/", Attrs{Xattrs: map[string][]byte{"user.a": noise(1200)}}, Condition{})
	wantKind(t, err, NoSpace)
}

// TestTamperedXattrs are not believed.
func TestTamperedXattrs(t *testing.T) {
	s := newStage(t)
	b := s.vault(nil)
	content, h := s.seal(b, "a", []byte("text"), false)
	_, other := s.seal(b, "b", nil, false)
	open := func(h *crypto.Header) *crypto.Opener {
		o, err := b.keys.Open(s.ctx, h, b.full("a"))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	stored, err := sealXattrs(open(h), map[string][]byte{"user.a": []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := sealXattrs(open(other), map[string][]byte{"user.a": []byte("y")})
	if err != nil {
		t.Fatal(err)
	}
	label := base64.RawURLEncoding.EncodeToString(open(h).SealMetadata("other", []byte(`{"user.a":"eA=="}`)))
	for _, c := range []struct {
		name, x string
		header  *crypto.Header
		good    bool
	}{
		{"good", stored, h, true},
		{"good under another header in metadata", stored, other, true},
		{"of another object", foreign, h, false},
		{"under another label", label, h, false},
		{"cut", stored[:10], h, false},
		{"changed", "A" + stored[1:], h, stored[0] == 'A'},
		{"no base64", "%", h, false},
	} {
		meta := inMeta(c.header)
		meta[metaXattrs] = c.x
		s.plant(b, "a", content, meta)
		got, err := b.Xattrs(s.ctx, Object{Key: "a"})
		if c.good && (err != nil || string(got["user.a"]) != "x") || !c.good && KindOf(err) != Integrity {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

// TestXattrsWithoutEnvelope are stored as s3fs does.
func TestXattrsWithoutEnvelope(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	o, err := b.Put(s.ctx, "a", strings.NewReader("x"), 1, Attrs{Xattrs: map[string][]byte{"user.a": []byte("value")}}, Condition{})
	if err != nil {
		t.Fatal(err)
	}
	if want := url.QueryEscape(`{"user.a":"dmFsdWU="}`); o.Meta["xattr"] != want {
		t.Errorf("stored is %q, want %q", o.Meta["xattr"], want)
	}
	if o, err = b.Copy(s.ctx, o, "b", Attrs{}, Condition{}); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Xattrs(s.ctx, o); err != nil || string(got["user.a"]) != "value" {
		t.Errorf("%q, %v", got, err)
	}
	if o, err = b.Copy(s.ctx, o, "b", Attrs{Xattrs: map[string][]byte{}}, Condition{}); err != nil || o.Meta["xattr"] != "" {
		t.Errorf("%+v, %v", o, err)
	}
	_, err = b.Put(s.ctx, "a", strings.NewReader("x"), 1, Attrs{Xattrs: map[string][]byte{"user.a": noise(2000)}}, Condition{})
	wantKind(t, err, NoSpace)
	for _, malformed := range []string{"%", "{", "null", `{"a":1}`} {
		s.plant(b, "theirs", nil, map[string]string{"xattr": malformed})
		if got, err := b.Xattrs(s.ctx, Object{Key: "theirs"}); err != nil || got == nil || len(got) > 0 {
			t.Errorf("%q: %q, %v", malformed, got, err)
		}
	}
}

// TestMountWithoutEnvelope keeps what belongs to messages when it renames
// objects that others sealed.
func TestMountWithoutEnvelope(t *testing.T) {
	s := newStage(t)
	b, plainly := s.vault(nil), s.mount(nil)
	text := noise(1000)
	s.plantSealed(b, "a", text)
	o, err := plainly.Copy(s.ctx, Object{Key: "a"}, "b", Attrs{Meta: map[string]string{"mode": "1"}}, Condition{})
	if err != nil || o.Form != Plain || o.Size != o.Stored || len(o.Meta) != 1 {
		t.Fatalf("%+v, %v", o, err)
	}
	s.box.Log.Reset()
	head, err := b.Head(s.ctx, "b")
	if err != nil || head.Form != Sealed || len(s.asked()) != 1 {
		t.Errorf("%+v, %v, %v", head, err, s.asked())
	}
	if got, err := s.readAll(b, head); err != nil || !bytes.Equal(got, text) {
		t.Error(errors.Join(err, errors.New("not what was written")))
	}
}

// TestCopyOfBoundObjects reads and seals anew what is bound to its key, but
// changes attributes in place.
func TestCopyOfBoundObjects(t *testing.T) {
	s := newStage(t)
	b := s.vault(func(o *Options) { o.Envelope.Scope = crypto.ScopeObject })
	for name, size := range map[string]int{"small": 100_000, "by parts": 20 << 20} {
		t.Run(name, func(t *testing.T) {
			plain := noise(size)
			s.plantSealed(b, name, plain)
			src, err := b.Copy(s.ctx, Object{Key: name}, name, Attrs{Xattrs: map[string][]byte{"user.a": []byte("x")}}, Condition{})
			if err != nil {
				t.Fatal(err)
			}
			if head, err := b.Head(s.ctx, name); err != nil || !head.Header.Equal(src.Header) {
				t.Errorf("in place: %+v, %v", head, err)
			}
			dst, err := b.Copy(s.ctx, src, name+" moved", Attrs{Meta: map[string]string{"mode": "1"}}, Condition{IfAbsent: true})
			if err != nil {
				t.Fatal(err)
			}
			if dst.Header.Equal(src.Header) || dst.Meta["mode"] != "1" {
				t.Errorf("%+v", dst)
			}
			if got, err := s.readAll(b, s.listed(b, name+" moved")); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if xattrs, err := b.Xattrs(s.ctx, dst); err != nil || string(xattrs["user.a"]) != "x" {
				t.Errorf("xattrs are %q, %v", xattrs, err)
			}
			_, err = b.Copy(s.ctx, src, name+" moved", Attrs{}, Condition{IfAbsent: true})
			wantKind(t, err, Exists)
			_, err = b.Copy(s.ctx, src, strings.Repeat("long", 200), Attrs{}, Condition{})
			wantKind(t, err, NameTooLong)
			wantText(t, err, "--context-scope")
			content, h := s.seal(b, name, plain[:100], false)
			moved := s.plant(b, name+" planted", content, inMeta(h))
			_, err = s.readAll(b, moved)
			wantKind(t, err, KeyRejected)
		})
	}
}
