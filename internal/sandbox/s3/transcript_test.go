package s3_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/kmsfs/kmsfs/internal/sandbox/s3"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire/wiretest"
)

// The examples are older than two things that S3 says today: the checksum that it computes where the client names none
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html), and whether bucket keys are on.
var newer = regexp.MustCompile(`<Checksum\w+>[^<]*</Checksum\w+>|<BucketKeyEnabled>[^<]*</BucketKeyEnabled>`)

func TestTranscripts(t *testing.T) {
	b := start(t, false, nil)
	vars := b.scene(t)
	to := wiretest.Target{URL: b.url, Client: b.http, Service: "s3", Region: "us-east-1",
		As: wire.Identity{AccessKey: "kmsfs", SecretKey: "kmsfs-secret"}}
	all := wiretest.Load(t, "testdata/*.http")
	order := func(name string) int { return map[string]int{"complete-multipart-upload": 1}[name] }
	for pass := range 2 { // completing ends the upload that others list
		for _, tr := range all {
			if order(tr.Name) != pass {
				continue
			}
			t.Run(tr.Name, func(t *testing.T) {
				got := tr.Expand(vars).Send(bounded(t), t, to)
				got.Body = newer.ReplaceAllString(got.Body, "")
				tr.Check(t, got)
			})
		}
	}
}

// scene makes what the documented requests presuppose.
func (b *sandbox) scene(t *testing.T) map[string]string {
	t.Helper()
	ctx := bounded(t)
	key := s3.Encryption{Algorithm: "aws:kms", KeyID: b.key}
	for name, o := range map[string]s3.BucketOptions{"quotes": {}, "example-bucket": {}, "encrypted": {}, "tokens": {}, "encrypted-from-start": {Encryption: key}, "versions": {Versioning: s3.Enabled}} {
		must(t, b.CreateBucket(name, o))
	}
	put := func(bucket, key, class string) {
		t.Helper()
		in := &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("x"), ContentType: aws.String("text/plain")}
		if class != "" {
			in.StorageClass = "REDUCED_REDUNDANCY"
		}
		_, err := b.client.PutObject(ctx, in)
		must(t, err)
	}
	put("quotes", "ExampleGuide.pdf", "")
	put("quotes", "ExampleObject.txt", "REDUCED_REDUNDANCY")
	put("quotes", "Q", "")
	put("tokens", "s1", "")
	put("tokens", "s2", "")
	for _, name := range []string{"sample.jpg", "photos/2006/January/sample.jpg", "photos/2006/February/sample2.jpg", "photos/2006/February/sample3.jpg"} {
		put("example-bucket", name, "")
	}
	put("demo", "my-image.jpg", "")
	put("versions", "my-image.jpg", "")
	b.denials.Deny("s3:DeleteObjectVersion", "arn:aws:s3:::demo/sample2.txt")
	b.denials.Deny("s3:GetObject", "arn:aws:s3:::demo/secret")
	b.faults.Add(wire.Fault{Op: "CompleteMultipartUpload", Key: "broken", Kind: wire.Answer, Status: http.StatusOK, Code: "InternalError",
		Message: "We encountered an internal error. Please try again."})

	created, err := b.client.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: demo, Key: aws.String("example-object")},
		func(o *awss3.Options) { o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired })
	must(t, err)
	vars := map[string]string{"upload": *created.UploadId}
	for n := range int32(3) {
		part, err := b.client.UploadPart(ctx, &awss3.UploadPartInput{Bucket: demo, Key: aws.String("example-object"), UploadId: created.UploadId, PartNumber: aws.Int32(n + 1), Body: strings.NewReader(strings.Repeat("x", 5<<20))})
		must(t, err)
		vars[fmt.Sprint("etag", n+1)] = *part.ETag
	}
	return vars
}
