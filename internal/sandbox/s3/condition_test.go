package s3_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
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
	out, err := b.client.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: demo, Key: aws.String("a")})
	must(t, err)
	_, err = b.client.UploadPart(ctx, &awss3.UploadPartInput{Bucket: demo, Key: aws.String("a"), UploadId: out.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("new")})
	must(t, err)
	complete := &awss3.CompleteMultipartUploadInput{Bucket: demo, Key: aws.String("a"), UploadId: out.UploadId, MultipartUpload: b.listed(t, "a", out.UploadId), IfNoneMatch: aws.String("*")}
	_, err = b.client.CompleteMultipartUpload(ctx, complete)
	fails(t, err, 412, "PreconditionFailed")
	complete.IfNoneMatch = nil
	_, err = b.client.CompleteMultipartUpload(ctx, complete)
	must(t, err)
	equal(t, "completed", b.get(t, "a", ""), []byte("new"))
	_, err = b.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: demo, Key: aws.String("a"), UploadId: out.UploadId})
	fails(t, err, 404, "NoSuchUpload")
}
