package s3io

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// TestCopiesStripNothing copies an object with everything that S3 keeps beside
// content, at once and by parts, to another key and onto itself.
func TestCopiesStripNothing(t *testing.T) {
	s := newStage(t)
	for _, limit := range []int64{copyLimit, 6 << 20} {
		for _, dst := range []string{"dst", "src"} {
			t.Run(fmt.Sprint(dst, limit), func(t *testing.T) {
				b := s.mount(func(o *Options) { o.Prefix = fmt.Sprint(dst, limit, "/") })
				b.copyLimit, b.partCopy = limit, 5<<20
				content := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)[:11<<20]
				in := &s3.PutObjectInput{Bucket: &b.opts.Bucket, Key: aws.String(b.full("src")), Body: bytes.NewReader(content)}
				b.wanted().onPut(in)
				want := heritage{
					meta: map[string]string{"foreign": "kept"}, class: "STANDARD_IA", tags: "a=b+c&d=",
					headers: Headers{ContentType: "text/plain", ContentEncoding: "x-test", ContentLanguage: "de", ContentDisposition: "inline",
						CacheControl: "no-cache", Expires: "Thu, 01 Dec 1994 16:00:00 GMT", WebsiteRedirect: "/x"},
				}
				if _, err := b.s3.PutObject(s.ctx, in, with(want.header("foreign commit"))); err != nil {
					t.Fatal(err)
				}
				listed, err := b.List(s.ctx, ListQuery{})
				if err != nil || len(listed.Objects) != 1 {
					t.Fatalf("list: %+v, %v", listed, err)
				}
				src := listed.Objects[0] // knows no attributes: Copy must ask
				meta := map[string]string{"foreign": "kept", "mode": "1"}
				s.box.Log.Reset()
				o, err := b.Copy(s.ctx, src, dst, Attrs{Meta: meta}, Condition{})
				if err != nil {
					t.Fatal(err)
				}
				if parts := s.box.Log.Count("UploadPartCopy"); parts != map[bool]int{true: 3}[limit < copyLimit] {
					t.Errorf("%d parts were copied", parts)
				}
				head, err := b.Head(s.ctx, dst)
				if err != nil {
					t.Fatal(err)
				}
				o.LastModified, o.Tags = head.LastModified, head.Tags
				if diff := cmp.Diff(o, head); diff != "" {
					t.Errorf("Copy and Head disagree (-copy +head):\n%s", diff)
				}
				if head.Headers != want.headers || head.StorageClass != want.class || !cmp.Equal(head.Meta, meta) {
					t.Errorf("the copy is %+v", head)
				}
				if tags, err := b.tagsOf(s.ctx, head); err != nil || tags != want.tags {
					t.Errorf("tags are %q, %v", tags, err)
				}
				if s.content(b, head) != string(content) {
					t.Error("the content differs")
				}
			})
		}
	}
}

// TestReplacementStripsNothing rewrites an object with tags and headers.
func TestReplacementStripsNothing(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	h := heritage{tags: "a=b", headers: Headers{ContentType: "text/plain"}, class: "STANDARD_IA"}
	if _, err := b.sendPut(s.ctx, "a", strings.NewReader("old"), 3, h.header("c"), Condition{}); err != nil {
		t.Fatal(err)
	}
	base, err := b.Head(s.ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	check := func(way string) {
		head, err := b.Head(s.ctx, "a")
		if err != nil || head.Headers != h.headers || head.StorageClass != h.class {
			t.Errorf("%s: %+v, %v", way, head, err)
		}
		if tags, err := b.tagsOf(s.ctx, head); err != nil || tags != h.tags {
			t.Errorf("%s: tags are %q, %v", way, tags, err)
		}
	}
	u, parts := s.upload(b, "a", "by upload", Attrs{Base: &base})
	o, err := b.completeUpload(s.ctx, u, parts, 9, Condition{IfMatch: base.ETag})
	if err != nil {
		t.Fatal(err)
	}
	check("upload")
	if base, err = b.Head(s.ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if base.Tags == 0 {
		base.Head = false // a server that does not count them
	}
	if _, err := b.Put(s.ctx, "a", strings.NewReader("by put"), 6, Attrs{Base: &base}, Condition{IfMatch: o.ETag}); err != nil {
		t.Fatal(err)
	}
	check("put")
}

// TestCopyFromChangedSource is refused at once and by parts, and leaves nothing.
func TestCopyFromChangedSource(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	for _, limit := range []int64{copyLimit, 1} {
		b.copyLimit = limit
		src := s.mustPut(b, "src", "text")
		s.mustPut(b, "src", "changed")
		for _, c := range []Condition{{}, {IfAbsent: true}} {
			_, err := b.Copy(s.ctx, src, "dst", Attrs{}, c)
			wantKind(t, err, Stale)
		}
		if left := strings.Join(s.remains(b), ", "); left != "version pre/src" {
			t.Errorf("left are %s", left)
		}
	}
	if err := b.Delete(s.ctx, Object{Key: "src"}); err != nil {
		t.Fatal(err)
	}
	_, err := b.Copy(s.ctx, Object{Key: "src"}, "dst", Attrs{}, Condition{IfAbsent: true})
	wantKind(t, err, NotExist)
}

// TestLargeCopyFails aborts its upload in every case.
func TestLargeCopyFails(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	b.copyLimit = 1
	src := s.mustPut(b, "src", "text")
	for _, op := range []string{"UploadPartCopy", "CompleteMultipartUpload"} {
		for _, status := range []int{403, 412} {
			s.fault(wire.Fault{Op: op, Times: 1, Kind: wire.Answer, Status: status, Code: "Refused"})
			if _, err := b.Copy(s.ctx, src, "dst", Attrs{}, Condition{IfAbsent: true}); err == nil {
				t.Errorf("%s with %d made a copy", op, status)
			}
			s.box.Faults.Clear()
			if left := strings.Join(s.remains(b), ", "); left != "version pre/src" {
				t.Errorf("%s with %d left %s", op, status, left)
			}
		}
	}
	if _, err := b.Copy(s.ctx, src, "dst", Attrs{}, Condition{IfAbsent: true}); err != nil {
		t.Error(err)
	}
}

// TestMetadataIsBounded refuses before sending what S3 would not take.
func TestMetadataIsBounded(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	s.box.Log.Reset()
	a := Attrs{Meta: map[string]string{"x": strings.Repeat("x", maxMeta)}}
	_, err := b.Put(s.ctx, "a", strings.NewReader(""), 0, a, Condition{})
	wantKind(t, err, NoSpace)
	_, err = b.createUpload(s.ctx, "a", a)
	wantKind(t, err, NoSpace)
	_, err = s.put(b, strings.Repeat("k", maxKey), "", Condition{})
	wantKind(t, err, NameTooLong)
	if n := s.box.Log.Counts(); len(n) > 0 {
		t.Errorf("sent were %v", n)
	}
}

// TestGet reads ranges of one version, and finds out about wrong answers.
func TestGet(t *testing.T) {
	s := newStage(t)
	b := s.mount(func(o *Options) { o.Bucket = "enabled" })
	o := s.mustPut(b, "a", "0123456789")
	s.mustPut(b, "a", "abcdefghij") // o is an old version now
	for _, r := range []struct {
		off, n int64
		want   string
	}{{0, -1, "0123456789"}, {3, 4, "3456"}, {8, 100, "89"}, {10, 1, ""}, {20, -1, ""}, {0, 0, ""}} {
		body, err := b.Get(s.ctx, o, r.off, r.n)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil || string(got) != r.want {
			t.Errorf("%d bytes at %d are %q, %v", r.n, r.off, got, err)
		}
	}
	for name, f := range map[string]wire.Fault{
		"cut":   {Kind: wire.CutBody, Cut: 4},
		"reset": {Kind: wire.ResetBody, Cut: 4},
		"range": {Kind: wire.EditHeader, Edit: func(h http.Header) { h.Set("Content-Range", "bytes 1-9/10") }},
	} {
		f.Op, f.Times = "GetObject", 1
		s.fault(f)
		body, err := b.Get(s.ctx, o, 0, -1)
		if err == nil {
			_, err = io.ReadAll(body)
			err = errors.Join(err, body.Close())
		}
		if err == nil {
			t.Errorf("%s was not noticed", name)
		}
		s.box.Faults.Clear()
	}
	o.VersionID = ""
	_, err := b.Get(s.ctx, o, 0, -1)
	wantKind(t, err, Stale)
}

// TestListPages reads many keys by pages, from a key on.
func TestListPages(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	for i := range 7 {
		s.mustPut(b, fmt.Sprintf("d%d/x&y %d", i%2, i), "")
	}
	var got []string
	q := ListQuery{Max: 2, After: "d0/x&y 0"}
	for {
		page, err := b.List(s.ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			got = append(got, o.Key)
		}
		if q.Token = page.Token; q.Token == "" {
			break
		}
	}
	want := []string{"d0/x&y 2", "d0/x&y 4", "d0/x&y 6", "d1/x&y 1", "d1/x&y 3", "d1/x&y 5"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestStatDoesNotWaitForUploads fills every slot of content and looks up.
func TestStatDoesNotWaitForUploads(t *testing.T) {
	s := newStage(t)
	b := s.mount(func(o *Options) { o.MaxConnections = 4 })
	s.mustPut(b, "a", "text")
	rule := s.fault(wire.Fault{Op: "PutObject", Kind: wire.Hang})
	s.box.Log.Reset()
	done := make(chan error)
	for range 6 {
		go func() {
			_, err := s.put(b, "b", "text", Condition{})
			done <- err
		}()
	}
	if err := s.box.Log.Wait(s.ctx, "PutObject", 3); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	if _, err := b.Head(ctx, "a"); err != nil {
		t.Error(err)
	}
	if n := s.box.Log.Count("PutObject"); n > 3 {
		t.Errorf("%d uploads at a time", n)
	}
	rule.Release()
	for range 6 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
