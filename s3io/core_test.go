package s3io

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// TestWhatWritersReturn compares what writing returns with what HEAD tells, in
// envelope mode alone and over SSE-KMS.
func TestWhatWritersReturn(t *testing.T) {
	s := newStage(t)
	for name, policy := range map[string]Policy{"sealed": {}, "both": {KeyID: sandbox.KeyAlias}} {
		t.Run(name, func(t *testing.T) {
			b := s.vault(func(o *Options) { o.Policy = policy })
			for _, size := range []int{0, 5, frame, 6 << 20} {
				plain := noise(size)
				a := Attrs{Headers: Headers{ContentType: "text/x-test"}, Meta: map[string]string{"mode": "33188"}, Xattrs: map[string][]byte{"user.a": []byte("x")}}
				w := b.NewWriter("a", nil, Condition{})
				if _, err := w.WriteAt(s.ctx, plain, 0); err != nil {
					t.Fatal(err)
				}
				made, err := w.Commit(s.ctx, a)
				w.Abort()
				if err != nil {
					t.Fatal(err)
				}
				for way := range 2 {
					head, err := b.Head(s.ctx, "a")
					if err != nil {
						t.Fatal(err)
					}
					made.LastModified, made.Tags = head.LastModified, head.Tags
					if diff := cmp.Diff(made, head); diff != "" {
						t.Errorf("way %d: made and Head disagree (-made +head):\n%s", way, diff)
					}
					if got, err := s.readAll(b, s.listed(b, "a")); err != nil || !bytes.Equal(got, plain) {
						t.Errorf("%d bytes of %d, %v", len(got), size, err)
					}
					if xattrs, err := b.Xattrs(s.ctx, head); err != nil || string(xattrs["user.a"]) != "x" {
						t.Errorf("xattrs are %q, %v", xattrs, err)
					}
					if err := b.Unlock(s.ctx, head); err != nil {
						t.Error(err)
					}
					if made, err = b.Put(s.ctx, "a", bytes.NewReader(plain), int64(size), Attrs{Meta: a.Meta, Base: &head}, Condition{IfMatch: head.ETag}); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func TestPutHeadGetCopyDelete(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	arn := s.box.KMS.KeyARN(sandbox.KeyAlias)
	if b.Key() != arn {
		t.Errorf("key is %q, want %q", b.Key(), arn)
	}
	if left := s.remains(b); len(left) > 0 {
		t.Errorf("the probe left %v", left)
	}
	key := "dir/a +%&ü\x01"
	meta := map[string]string{"mode": "33188", "uid": "7"}
	put, err := b.Put(s.ctx, key, strings.NewReader("hello"), 5, Attrs{Meta: meta, Headers: Headers{ContentType: "text/x-test", CacheControl: "no-store"}}, Condition{IfAbsent: true})
	if err != nil {
		t.Fatal(err)
	}
	head, err := b.Head(s.ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	put.LastModified = head.LastModified
	if diff := cmp.Diff(put, head); diff != "" {
		t.Errorf("Put and Head disagree (-put +head):\n%s", diff)
	}
	if want := (Encryption{Algorithm: ModeKMS, KeyID: arn, BucketKey: true}); head.Encryption != want {
		t.Errorf("encryption is %+v, want %+v", head.Encryption, want)
	}
	if got := s.content(b, head); got != "hello" {
		t.Errorf("content is %q", got)
	}
	copied, err := b.Copy(s.ctx, head, "b+", Attrs{Meta: map[string]string{"mode": "1"}}, Condition{IfAbsent: true})
	if err != nil {
		t.Fatal(err)
	}
	if copied.Headers != head.Headers || copied.Meta["mode"] != "1" || len(copied.Meta) != 1 || s.content(b, copied) != "hello" {
		t.Errorf("copy is %+v", copied)
	}
	page, err := b.List(s.ctx, ListQuery{Delimiter: true})
	if err != nil || len(page.Objects) != 1 || page.Objects[0].Key != "b+" || len(page.Prefixes) != 1 || page.Prefixes[0] != "dir/" {
		t.Errorf("list is %+v, %v", page, err)
	}
	page, err = b.List(s.ctx, ListQuery{Prefix: "dir/"})
	if err != nil || len(page.Objects) != 1 || page.Objects[0].Key != key {
		t.Errorf("list of dir/ is %+v, %v", page, err)
	}
	for _, o := range []Object{head, copied, copied} { // the last is gone already
		if err := b.Delete(s.ctx, o); err != nil {
			t.Errorf("delete %q: %v", o.Key, err)
		}
	}
	if left := s.remains(b); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}
