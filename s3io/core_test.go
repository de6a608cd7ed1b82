package s3io

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/internal/sandbox"
)

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
