package s3io

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// policyHeaders is what a creating request carries in these tests.
func policyHeaders() (sse, http.Header) {
	h := http.Header{}
	h.Set(headerSSE, ModeKMS)
	h.Set(headerKeyID, "arn:aws:kms:us-east-1:1:key/k")
	h.Set(headerContext, "e30=")
	h.Set(headerBucketKey, "true")
	h.Set(headerCommit, "c")
	return sse{algorithm: ModeKMS, keyID: "arn:aws:kms:us-east-1:1:key/k", context: "e30=", bucketKey: aws.Bool(true)}, h
}

func TestGuard(t *testing.T) {
	edit := func(f func(http.Header)) http.Header {
		_, h := policyHeaders()
		f(h)
		return h
	}
	want, complete := policyHeaders()
	type row struct {
		name     string
		op       string
		header   http.Header
		want     sse
		readOnly bool
		sent     bool
	}
	rows := []row{
		{"complete", "PutObject", complete, want, false, true},
		{"complete copy", "CopyObject", complete, want, false, true},
		{"complete upload", "CreateMultipartUpload", complete, want, false, true},
		{"bare", "PutObject", http.Header{}, want, false, false},
		{"other key", "PutObject", edit(func(h http.Header) { h.Set(headerKeyID, "x") }), want, false, false},
		{"two keys", "PutObject", edit(func(h http.Header) { h.Add(headerKeyID, "x") }), want, false, false},
		{"customer key beside", "PutObject", edit(func(h http.Header) { h.Set(headerPrefix+"-Customer-Key", "x") }), want, false, false},
		{"odd spelling", "HeadObject", http.Header{"x-amz-server-side-encryption": {"AES256"}}, want, false, false},
		{"read", "GetObject", http.Header{}, want, false, true},
		{"SSE on a read", "GetObject", complete, want, false, false},
		{"SSE on a part", "UploadPart", complete, want, false, false},
		{"part", "UploadPart", http.Header{}, want, false, true},
		{"unknown operation", "RestoreObject", http.Header{}, want, false, false},
		{"renaming in a directory bucket", "RenameObject", http.Header{}, want, false, false},
		{"bucket default", "PutObject", http.Header{headerCommit: {"c"}}, sse{}, false, true},
		{"SSE with bucket default", "PutObject", complete, sse{}, false, false},
		{"create while read-only", "PutObject", complete, want, true, false},
		{"delete while read-only", "DeleteObject", http.Header{}, want, true, false},
		{"read while read-only", "GetObject", http.Header{}, want, true, true},
	}
	for name := range complete {
		rows = append(rows, row{"without " + name, "PutObject", edit(func(h http.Header) { h.Del(name) }), want, false, false})
	}
	for _, r := range rows {
		reason := guard(r.op, r.header, r.want, r.readOnly)
		if (reason == "") != r.sent {
			t.Errorf("%s: got %q, want sent %v", r.name, reason, r.sent)
		}
	}
}

// TestNoCreatingRequestWithoutItsHeaders takes away one header after the other
// behind the policy's back: none of the requests may reach the server.
func TestNoCreatingRequestWithoutItsHeaders(t *testing.T) {
	s := newStage(t)
	b := s.mount(func(o *Options) { o.Prefix = "" })
	src := s.mustPut(b, "src", "text")
	drop := func(name string) func(*s3.Options) {
		return func(o *s3.Options) {
			o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
				return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("thief", func(
					ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler,
				) (middleware.FinalizeOutput, middleware.Metadata, error) {
					in.Request.(*smithyhttp.Request).Header.Del(name)
					return next.HandleFinalize(ctx, in)
				}), "kmsfsGuard", middleware.Before)
			})
		}
	}
	attributes := with(heritage{}.header("commit"))
	calls := map[string]func(...func(*s3.Options)) error{
		"PutObject": func(f ...func(*s3.Options)) error {
			in := &s3.PutObjectInput{Bucket: aws.String(sandbox.Bucket), Key: aws.String("x"), Body: strings.NewReader("x")}
			b.wanted().onPut(in)
			_, err := b.s3.PutObject(s.ctx, in, f...)
			return err
		},
		"CopyObject": func(f ...func(*s3.Options)) error {
			in := &s3.CopyObjectInput{Bucket: aws.String(sandbox.Bucket), Key: aws.String("x"), CopySource: aws.String(b.source(src))}
			b.wanted().onCopy(in)
			_, err := b.s3.CopyObject(s.ctx, in, f...)
			return err
		},
		"CreateMultipartUpload": func(f ...func(*s3.Options)) error {
			in := &s3.CreateMultipartUploadInput{Bucket: aws.String(sandbox.Bucket), Key: aws.String("x")}
			b.wanted().onCreate(in)
			_, err := b.s3.CreateMultipartUpload(s.ctx, in, f...)
			return err
		},
	}
	_, names := policyHeaders()
	for op, call := range calls {
		s.box.Log.Reset()
		for name := range names {
			var refused *guardError
			if err := call(attributes, drop(name)); !errors.As(err, &refused) {
				t.Errorf("%s without %s: got %v, want a refusal", op, name, err)
			}
		}
		if n := s.box.Log.Count(op); n != 0 {
			t.Errorf("%s: %d requests were sent", op, n)
		}
		if err := call(attributes); err != nil || s.box.Log.Count(op) != 1 {
			t.Errorf("%s with all headers: %v", op, err)
		}
	}
}

// TestOnlyCreatingRequestsCarryTheHeaders looks at everything that a
// sequence of all operations sent.
func TestOnlyCreatingRequestsCarryTheHeaders(t *testing.T) {
	s := newStage(t)
	b := s.mount(func(o *Options) { o.RequestPayer, o.ExpectedBucketOwner = true, sandbox.Account })
	o := s.mustPut(b, "a", "text")
	u, parts := s.upload(b, "big", "text", Attrs{Base: &o})
	if _, err := b.completeUpload(s.ctx, u, parts, 4, Condition{IfAbsent: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Copy(s.ctx, o, "b", Attrs{}, Condition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.List(s.ctx, ListQuery{}); err != nil {
		t.Fatal(err)
	}
	if got := s.text(b, "a"); got != "text" {
		t.Errorf("got %q", got)
	}
	if err := b.Delete(s.ctx, o); err != nil {
		t.Fatal(err)
	}
	const context = "eyJhcHAiOiJrbXNmcyIsInRlYW0iOiJhIGIifQ==" // {"app":"kmsfs","team":"a b"}
	creating := map[string]string{
		headerSSE: ModeKMS, headerKeyID: b.Key(), headerContext: context, headerBucketKey: "true",
	}
	seen := map[string]bool{}
	for _, r := range s.box.Log.Requests() {
		if r.Service != "s3" {
			continue
		}
		seen[r.Op] = true
		for name, value := range creating {
			want := ""
			if effectOf(r.Op) == creates {
				want = value
			}
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", r.Op, name, got, want)
			}
		}
		if agent := r.Header.Get("User-Agent"); !strings.Contains(agent, "kmsfs") {
			t.Errorf("%s: user agent is %q", r.Op, agent)
		}
		if r.Header.Get("X-Amz-Request-Payer") != "requester" || r.Header.Get("X-Amz-Expected-Bucket-Owner") != sandbox.Account {
			t.Errorf("%s names no payer or no owner", r.Op)
		}
	}
	for _, op := range []string{"PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "GetObject", "HeadObject", "DeleteObject", "ListObjectsV2"} {
		if !seen[op] {
			t.Errorf("%s was not tried", op)
		}
	}
}
