package s3_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

func TestChecksums(t *testing.T) {
	body := noise(300_000)
	for name, plain := range map[string]bool{"trailers over https": false, "headers over http": true} {
		t.Run(name, func(t *testing.T) {
			b := start(t, plain, nil)
			ctx := bounded(t)
			for _, algorithm := range []types.ChecksumAlgorithm{"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"} {
				key := string(algorithm)
				in := b.input(key, body)
				in.ChecksumAlgorithm = algorithm
				_, err := b.client.PutObject(ctx, in)
				must(t, err)
				// The SDK verifies what it reads by the checksum that the server stored.
				equal(t, key, b.get(t, key, ""), body)
				sums := sumsOf(b.head(t, key))
				if len(sums) != 1 || sums[key] == "" {
					t.Errorf("%s: stored checksums %v", key, sums)
				}
			}
		})
	}
}

func sumsOf(head *awss3.HeadObjectOutput) map[string]string {
	all := map[string]string{"CRC32": aws.ToString(head.ChecksumCRC32), "CRC32C": aws.ToString(head.ChecksumCRC32C),
		"CRC64NVME": aws.ToString(head.ChecksumCRC64NVME), "SHA1": aws.ToString(head.ChecksumSHA1), "SHA256": aws.ToString(head.ChecksumSHA256)}
	for name, sum := range all {
		if sum == "" {
			delete(all, name)
		}
	}
	return all
}

func TestWrongChecksumsAreRefused(t *testing.T) {
	for name, plain := range map[string]bool{"https": false, "http": true} {
		t.Run(name, func(t *testing.T) {
			b := start(t, plain, nil)
			in := b.input("a", []byte("x"))
			in.ChecksumCRC32C = aws.String("AAAAAA==")
			_, err := b.client.PutObject(t.Context(), in)
			fails(t, err, 400, "BadDigest")
			in = b.input("a", []byte("x"))
			in.ContentMD5 = aws.String("AAAAAAAAAAAAAAAAAAAAAA==")
			_, err = b.client.PutObject(t.Context(), in)
			fails(t, err, 400, "BadDigest")
			_, err = b.client.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: demo, Key: aws.String("a")})
			fails(t, err, 404, "NotFound")
		})
	}
}

// TestDefaultChecksum: where the client names no checksum S3 computes CRC-64/NVME. The reference is the check value of
// the catalogue of CRC algorithms, https://reveng.sourceforge.io/crc-catalogue/all.htm.
func TestDefaultChecksum(t *testing.T) {
	b := start(t, true, nil)
	client := awss3.New(b.client.Options(), func(o *awss3.Options) {
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	})
	_, err := client.PutObject(t.Context(), b.input("a", []byte("123456789")))
	must(t, err)
	want := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, 0xae8b14860a799888))
	if got := sumsOf(b.head(t, "a"))["CRC64NVME"]; got != want {
		t.Errorf("CRC64NVME %s, want %s", got, want)
	}
}

func TestChecksumsOfUploads(t *testing.T) {
	b := start(t, false, nil)
	whole := noise(5<<20 + 7)
	parts := [][]byte{whole[:5<<20], whole[5<<20:]}
	for _, c := range []struct {
		algorithm types.ChecksumAlgorithm
		kind      types.ChecksumType
		composite bool
	}{
		{"CRC32", "", true}, {"CRC32C", "COMPOSITE", true}, {"SHA256", "", true},
		{"CRC32", "FULL_OBJECT", false}, {"CRC32C", "FULL_OBJECT", false}, {"CRC64NVME", "", false},
	} {
		t.Run(fmt.Sprint(c.algorithm, c.kind), func(t *testing.T) {
			b.upload(t, &awss3.CreateMultipartUploadInput{Key: aws.String("m"), ChecksumAlgorithm: c.algorithm, ChecksumType: c.kind}, parts...)
			got := sumsOf(b.head(t, "m"))[string(c.algorithm)]
			if strings.HasSuffix(got, "-2") != c.composite {
				t.Errorf("checksum %q, composite is %v", got, c.composite)
			}
			equal(t, "read back", b.get(t, "m", ""), whole)
			if c.composite {
				return
			}
			in := b.input("one", whole)
			in.ChecksumAlgorithm = c.algorithm
			_, err := b.client.PutObject(t.Context(), in)
			must(t, err)
			if want := sumsOf(b.head(t, "one"))[string(c.algorithm)]; got != want {
				t.Errorf("of the parts %s, of the whole %s", got, want)
			}
		})
	}
}

func TestParts(t *testing.T) {
	b := start(t, false, nil)
	ctx := bounded(t)
	first, last := noise(5<<20), []byte("tail")
	done := b.upload(t, &awss3.CreateMultipartUploadInput{Key: aws.String("m"), ContentType: aws.String("text/x"), Metadata: map[string]string{"A": "b"}, Tagging: aws.String("t=u")}, first, last)
	head := b.head(t, "m")
	if *head.ContentType != "text/x" || head.Metadata["a"] != "b" || *head.TagCount != 1 || !strings.HasSuffix(*done.ETag, `-2"`) {
		t.Errorf("attributes are lost: %+v", head)
	}
	out, err := b.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: demo, Key: aws.String("m"), PartNumber: aws.Int32(2)})
	must(t, err)
	defer out.Body.Close()
	body := new(bytes.Buffer)
	_, err = body.ReadFrom(out.Body)
	must(t, err)
	if body.String() != "tail" || *out.PartsCount != 2 || *out.ContentRange != "bytes 5242880-5242883/5242884" {
		t.Errorf("part 2: %q of %d, %s", body, *out.PartsCount, *out.ContentRange)
	}
	part, err := b.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: demo, Key: aws.String("m"), PartNumber: aws.Int32(1)})
	must(t, err)
	if *part.PartsCount != 2 || *part.ContentLength != 5<<20 {
		t.Errorf("head of part 1: %+v", part)
	}
	_, err = b.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: demo, Key: aws.String("m"), PartNumber: aws.Int32(3)})
	fails(t, err, 416, "InvalidPartNumber")
	equal(t, "range over both", b.get(t, "m", "bytes=5242879-5242881"), append(first[5<<20-1:5<<20:5<<20], "ta"...))
}

func TestCompleteRefuses(t *testing.T) {
	b := start(t, false, nil)
	ctx := bounded(t)
	created, err := b.client.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: demo, Key: aws.String("m"), ChecksumAlgorithm: "CRC32"})
	must(t, err)
	id := created.UploadId
	for n := range int32(2) {
		_, err = b.client.UploadPart(ctx, &awss3.UploadPartInput{Bucket: demo, Key: aws.String("m"), UploadId: id, PartNumber: aws.Int32(n + 1), Body: strings.NewReader(fmt.Sprint("small", n))})
		must(t, err)
	}
	_, err = b.client.UploadPart(ctx, &awss3.UploadPartInput{Bucket: demo, Key: aws.String("m"), UploadId: id, PartNumber: aws.Int32(1), Body: strings.NewReader("x"), ChecksumAlgorithm: "SHA256"})
	fails(t, err, 400, "InvalidRequest")
	listed := b.listed(t, "m", id).Parts
	for _, c := range []struct {
		name, code string
		parts      []types.CompletedPart
	}{
		{"small part that is not the last", "EntityTooSmall", listed},
		{"wrong order", "InvalidPartOrder", []types.CompletedPart{listed[1], listed[0]}},
		{"unknown part", "InvalidPart", []types.CompletedPart{{PartNumber: aws.Int32(7), ETag: listed[0].ETag}}},
		{"other ETag", "InvalidPart", []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: listed[1].ETag, ChecksumCRC32: listed[0].ChecksumCRC32}}},
		{"no checksum", "InvalidRequest", []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: listed[0].ETag}}},
		{"nothing", "MalformedXML", nil},
	} {
		_, err := b.client.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: demo, Key: aws.String("m"), UploadId: id,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: c.parts}})
		t.Run(c.name, func(t *testing.T) { fails(t, err, 400, c.code) })
	}
	_, err = b.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: demo, Key: aws.String("m"), UploadId: id})
	must(t, err)
	out, err := b.client.ListMultipartUploads(ctx, &awss3.ListMultipartUploadsInput{Bucket: demo})
	must(t, err)
	if len(out.Uploads) != 0 {
		t.Errorf("an aborted upload is listed: %+v", out.Uploads)
	}
}

func TestCopies(t *testing.T) {
	b := start(t, false, nil)
	ctx := bounded(t)
	body := noise(6 << 20)
	in := b.input("a b+ü", body)
	in.Metadata, in.CacheControl, in.Tagging, in.StorageClass = map[string]string{"k": "v"}, aws.String("no-store"), aws.String("a=1&b=2"), "STANDARD_IA"
	put, err := b.client.PutObject(ctx, in)
	must(t, err)
	src := aws.String("demo/a%20b%2B%C3%BC")

	_, err = b.client.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: demo, Key: aws.String("c"), CopySource: src})
	must(t, err)
	head := b.head(t, "c")
	if d := cmp.Diff(map[string]string{"k": "v"}, head.Metadata); d != "" || *head.CacheControl != "no-store" || *head.TagCount != 2 {
		t.Errorf("attributes are not carried: %s %+v", d, head)
	}
	if head.ServerSideEncryption != types.ServerSideEncryptionAes256 || head.StorageClass != "" {
		t.Errorf("a copy inherits encryption %s or class %s", head.ServerSideEncryption, head.StorageClass)
	}
	equal(t, "copy", b.get(t, "c", ""), body)
	_, err = b.client.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: demo, Key: aws.String("c"), CopySource: src, MetadataDirective: "REPLACE", TaggingDirective: "REPLACE", Metadata: map[string]string{"n": "w"}})
	must(t, err)
	head = b.head(t, "c")
	if d := cmp.Diff(map[string]string{"n": "w"}, head.Metadata); d != "" || head.CacheControl != nil || head.TagCount != nil {
		t.Errorf("attributes are not replaced: %s %+v", d, head)
	}
	_, err = b.client.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: demo, Key: aws.String("c"), CopySource: aws.String("demo/c")})
	fails(t, err, 400, "InvalidRequest")
	_, err = b.client.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: demo, Key: aws.String("c"), CopySource: aws.String("demo/none")})
	fails(t, err, 404, "NoSuchKey")

	created, err := b.client.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: demo, Key: aws.String("p"), ServerSideEncryption: "aws:kms", SSEKMSKeyId: &b.key})
	must(t, err)
	part := &awss3.UploadPartCopyInput{Bucket: demo, Key: aws.String("p"), UploadId: created.UploadId, PartNumber: aws.Int32(1), CopySource: src,
		CopySourceRange: aws.String("bytes=1-5242880"), CopySourceIfMatch: aws.String(`"0"`)}
	_, err = b.client.UploadPartCopy(ctx, part)
	fails(t, err, 412, "PreconditionFailed")
	part.CopySourceIfMatch = put.ETag
	_, err = b.client.UploadPartCopy(ctx, part)
	must(t, err)
	part.CopySourceRange = aws.String("bytes=0-6291456")
	_, err = b.client.UploadPartCopy(ctx, part)
	fails(t, err, 400, "InvalidArgument")
	_, err = b.client.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: demo, Key: aws.String("p"), UploadId: created.UploadId, MultipartUpload: b.listed(t, "p", created.UploadId)})
	must(t, err)
	equal(t, "copied part", b.get(t, "p", ""), body[1:5<<20+1])
}
