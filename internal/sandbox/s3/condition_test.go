package s3_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/kmsfs/kmsfs/internal/sandbox/s3"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// races is how often each kind of conditional request races.
const races = 60

// race runs call eight times at once and checks that exactly one succeeds and all others fail by the condition.
func race(t *testing.T, what string, call func(n int) error) {
	t.Helper()
	var group sync.WaitGroup
	var won atomic.Int32
	for n := range 8 {
		group.Go(func() {
			if err := call(n); err == nil {
				won.Add(1)
			} else if !strings.Contains(err.Error(), "PreconditionFailed") && !strings.Contains(err.Error(), "NoSuchKey") {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	group.Wait()
	if won.Load() != 1 {
		t.Errorf("%s: %d winners", what, won.Load())
	}
}

func TestConditionalRequestsHaveOneWinner(t *testing.T) {
	b := start(t, true, nil)
	ctx := bounded(t)
	star := aws.String("*")
	for n := range races {
		key := fmt.Sprintf("k%d", n)
		race(t, "PutObject If-None-Match", func(n int) error {
			_, err := b.client.PutObject(ctx, &awss3.PutObjectInput{Bucket: demo, Key: &key, Body: strings.NewReader(fmt.Sprint(n)), IfNoneMatch: star})
			return err
		})
		etag := b.head(t, key).ETag
		race(t, "PutObject If-Match", func(n int) error {
			_, err := b.client.PutObject(ctx, &awss3.PutObjectInput{Bucket: demo, Key: &key, Body: strings.NewReader(fmt.Sprint("new", n)), IfMatch: etag})
			return err
		})
		race(t, "CopyObject If-None-Match", func(int) error {
			_, err := b.client.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: demo, Key: aws.String("copy of " + key), CopySource: aws.String("demo/" + key), IfNoneMatch: star})
			return err
		})
		var uploads [8]*string
		for i := range uploads {
			out, err := b.client.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: demo, Key: aws.String("mp" + key)})
			must(t, err)
			_, err = b.client.UploadPart(ctx, &awss3.UploadPartInput{Bucket: demo, Key: aws.String("mp" + key), UploadId: out.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x")})
			must(t, err)
			uploads[i] = out.UploadId
		}
		race(t, "CompleteMultipartUpload If-None-Match", func(n int) error {
			_, err := b.client.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: demo, Key: aws.String("mp" + key), UploadId: uploads[n], IfNoneMatch: star,
				MultipartUpload: b.listed(t, "mp"+key, uploads[n])})
			return err
		})
		etag = b.head(t, key).ETag
		race(t, "DeleteObject If-Match", func(int) error {
			_, err := b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: demo, Key: &key, IfMatch: etag})
			return err
		})
	}
}

// listed returns the parts of an upload as ListParts has them.
func (b *sandbox) listed(t *testing.T, key string, upload *string) *types.CompletedMultipartUpload {
	t.Helper()
	out, err := b.client.ListParts(t.Context(), &awss3.ListPartsInput{Bucket: demo, Key: &key, UploadId: upload})
	must(t, err)
	done := &types.CompletedMultipartUpload{}
	for _, p := range out.Parts {
		done.Parts = append(done.Parts, types.CompletedPart{PartNumber: p.PartNumber, ETag: p.ETag, ChecksumCRC32: p.ChecksumCRC32,
			ChecksumCRC32C: p.ChecksumCRC32C, ChecksumCRC64NVME: p.ChecksumCRC64NVME, ChecksumSHA256: p.ChecksumSHA256})
	}
	return done
}

func TestConditions(t *testing.T) {
	b := start(t, false, nil)
	ctx := bounded(t)
	etag := b.put(t, "a", []byte("x")).ETag
	other := aws.String(`"00000000000000000000000000000000"`)
	put := func(key string, match, none *string) error {
		in := b.input(key, []byte("y"))
		in.IfMatch, in.IfNoneMatch = match, none
		_, err := b.client.PutObject(ctx, in)
		return err
	}
	fails(t, put("absent", etag, nil), 404, "NoSuchKey")
	fails(t, put("a", other, nil), 412, "PreconditionFailed")
	fails(t, put("a", nil, aws.String("*")), 412, "PreconditionFailed")
	fails(t, put("a", nil, etag), 501, "NotImplemented")
	equal(t, "after refusals", b.get(t, "a", ""), []byte("x"))
	must(t, put("a", etag, nil))

	_, err := b.client.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: demo, Key: aws.String("c"), CopySource: aws.String("demo/a"), CopySourceIfMatch: etag})
	fails(t, err, 412, "PreconditionFailed")
	head := b.head(t, "a")
	_, err = b.client.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: demo, Key: aws.String("c"), CopySource: aws.String("demo/a"), CopySourceIfMatch: head.ETag})
	must(t, err)
	_, err = b.client.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: demo, Key: aws.String("c"), CopySource: aws.String("demo/a"), CopySourceIfNoneMatch: head.ETag})
	fails(t, err, 412, "PreconditionFailed")

	_, err = b.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: demo, Key: aws.String("a"), IfMatch: etag})
	fails(t, err, 412, "PreconditionFailed")
	_, err = b.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: demo, Key: aws.String("a"), IfNoneMatch: head.ETag})
	fails(t, err, 304, "")
	_, err = b.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: demo, Key: aws.String("a"), IfUnmodifiedSince: aws.Time(time.Unix(0, 0))})
	fails(t, err, 412, "")

	_, err = b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: demo, Key: aws.String("a"), IfMatch: etag})
	fails(t, err, 412, "PreconditionFailed")
	_, err = b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: demo, Key: aws.String("absent"), IfMatch: etag})
	fails(t, err, 404, "NoSuchKey")
	_, err = b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: demo, Key: aws.String("a"), IfMatch: head.ETag})
	must(t, err)
	_, err = b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: demo, Key: aws.String("a")})
	must(t, err)
}

// TestRefusedCompleteKeepsTheUpload: after 412 an upload lives on.
func TestRefusedCompleteKeepsTheUpload(t *testing.T) {
	b := start(t, false, nil)
	ctx := bounded(t)
	b.put(t, "a", []byte("x"))
	complete := b.oneComplete(t, "a")
	_, err := b.client.CompleteMultipartUpload(ctx, complete)
	fails(t, err, 412, "PreconditionFailed")
	complete.IfNoneMatch = nil
	_, err = b.client.CompleteMultipartUpload(ctx, complete)
	must(t, err)
	equal(t, "completed", b.get(t, "a", ""), []byte("new"))
	_, err = b.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: demo, Key: aws.String("a"), UploadId: complete.UploadId})
	fails(t, err, 404, "NoSuchUpload")
}

// TestOvertakenWriteIsAConflict: a conditional write whose key is deleted meanwhile is answered 409, and an upload is
// gone then.
func TestOvertakenWriteIsAConflict(t *testing.T) {
	taps := &wire.Taps{}
	b := start(t, false, func(o *s3.Options) { o.Taps = taps })
	ctx := bounded(t)
	complete := b.oneComplete(t, "mp")
	writes := map[string]func() error{
		"PutObject": func() error {
			_, err := b.client.PutObject(ctx, &awss3.PutObjectInput{Bucket: demo, Key: aws.String("a"), Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")}, once)
			return err
		},
		"CompleteMultipartUpload": func() error {
			_, err := b.client.CompleteMultipartUpload(ctx, complete, once)
			return err
		},
	}
	for op, write := range writes {
		remove := taps.Add(func(call wire.Call, r *http.Request) io.Writer {
			if call.Op != op {
				return nil
			}
			return writing(func() {
				_, err := b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: demo, Key: aws.String(call.Key)})
				must(t, err)
			})
		})
		fails(t, write(), 409, "ConditionalRequestConflict")
		remove()
	}
	fails(t, writes["CompleteMultipartUpload"](), 404, "NoSuchUpload")
	must(t, writes["PutObject"]())

	b.Conflict(*demo, "mp", 1)
	complete = b.oneComplete(t, "mp")
	fails(t, writes["CompleteMultipartUpload"](), 409, "ConditionalRequestConflict")
	fails(t, writes["CompleteMultipartUpload"](), 404, "NoSuchUpload")
}

func once(o *awss3.Options) { o.Retryer = aws.NopRetryer{} }

// writing is called when a body is read.
type writing func()

func (w writing) Write(p []byte) (int, error) { w(); return len(p), nil }

// oneComplete uploads one part and returns what completes the upload if key is absent.
func (b *sandbox) oneComplete(t *testing.T, key string) *awss3.CompleteMultipartUploadInput {
	t.Helper()
	out, err := b.client.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: demo, Key: &key})
	must(t, err)
	_, err = b.client.UploadPart(t.Context(), &awss3.UploadPartInput{Bucket: demo, Key: &key, UploadId: out.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("new")})
	must(t, err)
	return &awss3.CompleteMultipartUploadInput{Bucket: demo, Key: &key, UploadId: out.UploadId, MultipartUpload: b.listed(t, key, out.UploadId), IfNoneMatch: aws.String("*")}
}
