package s3_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/kmsfs/kmsfs/internal/sandbox/s3"
)

// TestDiscard: of large bodies everything is kept but the content, and nothing is made up in its place.
func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	b := start(t, true, func(o *s3.Options) { o.Dir, o.Discard = dir, true })
	b.put(t, "small", noise(1<<20))
	b.upload(t, &awss3.CreateMultipartUploadInput{Key: aws.String("large"), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c}, noise(5<<20), noise(100))
	if n := b.blobs(t, dir); n != 2 {
		t.Errorf("%d blobs, want those of the small object and of the small part", n)
	}
	in := b.input("damaged", noise(2<<20))
	in.ChecksumCRC32C = aws.String("AAAAAA==")
	_, err := b.client.PutObject(t.Context(), in)
	fails(t, err, 400, "BadDigest")

	b.restart(t)
	equal(t, "small", b.get(t, "small", ""), noise(1<<20))
	equal(t, "the part that was kept", b.get(t, "large", "bytes=5242880-"), noise(100))
	kept := start(t, true, nil)
	kept.upload(t, &awss3.CreateMultipartUploadInput{Key: aws.String("large"), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c}, noise(5<<20), noise(100))
	got, want := b.head(t, "large"), kept.head(t, "large")
	if *got.ContentLength != *want.ContentLength || *got.ChecksumCRC32C != *want.ChecksumCRC32C || got.ServerSideEncryption != want.ServerSideEncryption {
		t.Errorf("head %+v, want %+v", got, want)
	}
	for _, ranges := range []string{"", "bytes=0-0", "bytes=5242879-5242880"} {
		in := &awss3.GetObjectInput{Bucket: demo, Key: aws.String("large")}
		if ranges != "" {
			in.Range = &ranges
		}
		_, err := b.client.GetObject(t.Context(), in)
		fails(t, err, 403, "InvalidObjectState")
	}
	_, err = b.client.CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: demo, Key: aws.String("copy"), CopySource: aws.String("demo/large")})
	fails(t, err, 403, "InvalidObjectState")
	_, err = b.client.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: demo, Key: aws.String("large")})
	must(t, err)
	if n := b.blobs(t, dir); n != 1 {
		t.Errorf("%d blobs, want that of the small object", n)
	}
}

// TestMultiply: copies that share their content outlive each other.
func TestMultiply(t *testing.T) {
	b := start(t, true, nil)
	in := b.input("d/0", []byte("content"))
	in.Metadata = map[string]string{"mode": "33188"}
	_, err := b.client.PutObject(t.Context(), in)
	must(t, err)
	var names []string
	for i := range 2500 {
		names = append(names, fmt.Sprint("d/", i+1))
	}
	must(t, b.Multiply("demo", "d/0", names))
	for _, gone := range []string{"d/0", "d/7"} {
		_, err := b.client.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: demo, Key: &gone})
		must(t, err)
	}
	equal(t, "a copy", b.get(t, "d/2500", ""), []byte("content"))
	if h := b.head(t, "d/8"); h.Metadata["mode"] != "33188" || *h.SSEKMSKeyId != b.key {
		t.Errorf("head of a copy: %+v", h)
	}
	var listed int
	pages := awss3.NewListObjectsV2Paginator(b.client, &awss3.ListObjectsV2Input{Bucket: demo})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		must(t, err)
		listed += len(page.Contents)
	}
	if listed != 2499 {
		t.Errorf("%d objects listed, want 2499", listed)
	}
	must(t, b.Multiply("demo", "d/8", []string{"d/8"}))
	equal(t, "what became a copy of itself", b.get(t, "d/8", ""), []byte("content"))
	if err := b.Multiply("demo", "absent", []string{"x"}); err == nil {
		t.Error("an absent object was multiplied")
	}
	if onDisk := start(t, true, inDir(t.TempDir())); onDisk.Multiply("demo", "d/0", []string{"x"}) == nil {
		t.Error("shared content was written to a journal")
	}
	b.put(t, "d/9", bytes.Repeat([]byte("new"), 10))
	equal(t, "another copy", b.get(t, "d/10", ""), []byte("content"))
}
