package crash

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// begin begins an upload as another program would, and returns its id.
func (c *campaign) begin(key string) string {
	c.t.Helper()
	in := &s3.CreateMultipartUploadInput{Bucket: &c.x.Bucket, Key: aws.String(c.x.Prefix + key)}
	if c.x.Mode != harness.Envelope {
		in.ServerSideEncryption = types.ServerSideEncryptionAwsKms
		if c.x.KeyPart != "" {
			in.SSEKMSKeyId = &c.x.KeyPart
		}
	}
	out, err := c.x.S3.CreateMultipartUpload(context.Background(), in)
	harness.Must(c.t, err)
	return aws.ToString(out.UploadId)
}

// abort ends an upload.
func (c *campaign) abort(key, id string) {
	c.t.Helper()
	_, err := c.x.S3.AbortMultipartUpload(context.Background(),
		&s3.AbortMultipartUploadInput{Bucket: &c.x.Bucket, Key: aws.String(c.x.Prefix + key), UploadId: &id})
	harness.Must(c.t, err)
}

// uploads returns the unfinished uploads of a key, or of all: MinIO knows only
// those of one key.
func (c *campaign) uploads(key string) map[string]string {
	c.t.Helper()
	all := map[string]string{}
	pages := s3.NewListMultipartUploadsPaginator(c.x.S3, &s3.ListMultipartUploadsInput{Bucket: &c.x.Bucket, Prefix: aws.String(c.x.Prefix + key)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		harness.Must(c.t, err)
		for _, u := range page.Uploads {
			all[aws.ToString(u.UploadId)] = strings.TrimPrefix(aws.ToString(u.Key), c.x.Prefix)
		}
	}
	return all
}

// checkUploads fails if an upload of ours is left of a crash. One can be: that
// of which S3 could not tell us. It has no parts, and lifecycle rules end it.
func (c *campaign) checkUploads(w *try) {
	c.t.Helper()
	left := c.uploads("")
	_, after, _ := promised(w.there, w.steps, w.acked)
	for name := range after {
		for id, key := range c.uploads(w.name + "/" + name) {
			left[id] = key
		}
	}
	for id, key := range left {
		if _, ok := c.theirs[id]; ok || c.hosts[id] != "" {
			continue
		}
		out, err := c.x.S3.ListParts(context.Background(), &s3.ListPartsInput{Bucket: &c.x.Bucket, Key: aws.String(c.x.Prefix + key), UploadId: &id})
		harness.Must(c.t, err)
		if len(out.Parts) > 0 {
			c.t.Errorf("%v: an upload of %s is left, with %d parts", w.when, key, len(out.Parts))
		}
		c.abort(key, id)
	}
}

// dropTheirs ends the uploads of others, which must all be there.
func (c *campaign) dropTheirs() {
	c.t.Helper()
	for id, key := range c.theirs {
		if _, ok := c.uploads(key)[id]; !ok {
			c.t.Errorf("the upload of somebody else of %s was touched", key)
			continue
		}
		c.abort(key, id)
	}
}

// objects returns the ETags of the objects whose keys begin so.
func (c *campaign) objects(prefix string) map[string]string {
	c.t.Helper()
	all := map[string]string{}
	pages := s3.NewListObjectsV2Paginator(c.x.S3, &s3.ListObjectsV2Input{Bucket: &c.x.Bucket, Prefix: aws.String(c.x.Prefix + prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		harness.Must(c.t, err)
		for _, o := range page.Contents {
			all[strings.TrimPrefix(aws.ToString(o.Key), c.x.Prefix)] = aws.ToString(o.ETag)
		}
	}
	return all
}
