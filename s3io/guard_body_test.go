package s3io

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kmsfs/kmsfs/crypto"
)

// TestNoContentLeavesUnsealed sends bodies of all kinds past the code that
// seals: none but what holds nothing of the user's may reach the server.
func TestNoContentLeavesUnsealed(t *testing.T) {
	entry := crypto.EncodeRewrap(crypto.EDK{Info: "arn:aws:kms:us-east-1:111122223333:key/k", Blob: []byte("wrapped")})
	pipe, end := io.Pipe()
	defer end.Close()
	for name, c := range map[string]struct {
		op, key string
		body    io.Reader
		sent    bool
	}{
		"text":                       {"PutObject", "file", strings.NewReader("secret"), false},
		"text under a marker":        {"PutObject", "dir/", strings.NewReader("secret"), false},
		"text in the registry":       {"PutObject", rewrapDir + "x.json", strings.NewReader("secret"), false},
		"text of a probe":            {"PutObject", ".kmsfs/probe-x", strings.NewReader("secret"), false},
		"nothing":                    {"PutObject", "file", strings.NewReader(""), false},
		"no body":                    {"PutObject", "file", nil, false},
		"marker":                     {"PutObject", "dir/", strings.NewReader(""), true},
		"marker without body":        {"PutObject", "dir/", nil, true},
		"entry of the registry":      {"PutObject", rewrapDir + "x.json", bytes.NewReader(entry), true},
		"entry and more":             {"PutObject", rewrapDir + "x.json", bytes.NewReader(append(entry[:len(entry):len(entry)], "secret"...)), false},
		"large":                      {"PutObject", "file", bytes.NewReader(make([]byte, 1<<20)), false},
		"cannot be looked at":        {"PutObject", "file", pipe, false},
		"pages":                      {"PutObject", "file", &body{}, false},
		"part":                       {"UploadPart", "file", strings.NewReader("secret"), false},
		"empty part":                 {"UploadPart", "dir/", strings.NewReader(""), false},
		"part with an entry":         {"UploadPart", "file", bytes.NewReader(entry), false},
		"part of a probe":            {"UploadPart", "file", strings.NewReader(probeText), true},
		"looks sealed, but is not":   {"PutObject", "file", bytes.NewReader([]byte{2, 4, 0x78}), false},
		"sealed":                     {"PutObject", "file", sealedBody{body: &body{lead: make([]byte, 1064), size: 1064, unit: crypto.Stride}}, true},
		"sealed part":                {"UploadPart", "file", sealedBody{body: &body{tail: make([]byte, 40), size: 40, unit: crypto.Stride}}, true},
		"probe":                      {"PutObject", ".kmsfs/probe-x", strings.NewReader(probeText), true},
		"probe and more":             {"PutObject", ".kmsfs/probe-x", strings.NewReader(probeText + "secret"), false},
		"what others do is not ours": {"CopyObject", "file", nil, true},
	} {
		req, err := smithyhttp.NewStackRequest().(*smithyhttp.Request).SetStream(c.body)
		check(t, err)
		req.URL.Path = "/bucket/" + c.key
		reason := guardBody(c.op, req)
		if (reason == "") != c.sent {
			t.Errorf("%s: got %q, want sent %v", name, reason, c.sent)
		}
		if reason != "" || c.body == nil {
			continue
		}
		if at, err := c.body.(io.Seeker).Seek(0, io.SeekCurrent); at != 0 || err != nil {
			t.Errorf("%s: the body was left at %d, %v", name, at, err)
		}
	}
}

// TestTheGuardStandsBeforeTheServer gives real requests another body behind
// the back of all other code.
func TestTheGuardStandsBeforeTheServer(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{})
		swap := func(o *s3.Options) {
			o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
				return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("thief", func(
					ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler,
				) (middleware.FinalizeOutput, middleware.Metadata, error) {
					req, err := in.Request.(*smithyhttp.Request).SetStream(strings.NewReader("secret"))
					if err != nil {
						return middleware.FinalizeOutput{}, middleware.Metadata{}, err
					}
					req.ContentLength, in.Request = 6, req
					return next.HandleFinalize(ctx, in)
				}), "kmsfsGuard", middleware.Before)
			})
		}
		u, err := r.b.createUpload(t.Context(), "file", Attrs{})
		check(t, err)
		put := &s3.PutObjectInput{Bucket: &r.b.opts.Bucket, Key: aws.String("file"), Body: strings.NewReader("secret")}
		r.b.wanted().onPut(put)
		calls := map[string]func() error{
			"PutObject": func() error {
				_, err := r.b.s3.PutObject(t.Context(), put, once, with(heritage{}.header("commit")), swap)
				return err
			},
			"UploadPart": func() error {
				_, err := r.b.s3.UploadPart(t.Context(), &s3.UploadPartInput{
					Bucket: &r.b.opts.Bucket, Key: aws.String("file"), UploadId: &u.id, PartNumber: aws.Int32(1), Body: strings.NewReader("secret"),
				}, once, swap)
				return err
			},
		}
		for op, call := range calls {
			var refused *guardError
			if err := call(); errors.As(err, &refused) != (m == ahead) || (r.count(op) == 0) != (m == ahead) {
				t.Errorf("%s: %v, %d requests", op, err, r.count(op))
			}
		}
		check(t, r.b.abortUpload(t.Context(), u))
	})
}

// TestABodyIsSealedWhole refuses to send a page that was passed over.
func TestABodyIsSealedWhole(t *testing.T) {
	r := newRig(t, sealing(nil))
	w := r.b.NewWriter("file", nil, Condition{})
	defer w.Abort()
	mustWrite(t, w, randomBytes(1, 3*frameSize), 0)
	s, err := r.b.keys.Seal(t.Context(), "file")
	check(t, err)
	body, _, err := sealBody(s, 0, true, w.held()...)
	check(t, err)
	if _, err := io.Copy(io.Discard, body); err != nil {
		t.Fatal(err)
	}
	check(t, w.bufs[0].unseal(1))
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, body); err == nil || n != crypto.FrameOffset(2) {
		t.Fatalf("%d bytes of a body with a page that is not sealed: %v", n, err)
	}
}
