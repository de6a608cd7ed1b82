package s3_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"
	"github.com/kmsfs/kmsfs/internal/sandbox/s3"
)

// walk pages through a listing and returns names and prefixes in the order of the pages.
func (b *sandbox) walk(t *testing.T, in awss3.ListObjectsV2Input) (all []string) {
	t.Helper()
	in.Bucket, in.EncodingType = demo, types.EncodingTypeUrl
	decode := func(s *string) string {
		name, err := url.QueryUnescape(*s)
		must(t, err)
		return name
	}
	for {
		out, err := b.client.ListObjectsV2(t.Context(), &in)
		must(t, err)
		if n := len(out.Contents) + len(out.CommonPrefixes); n != int(aws.ToInt32(out.KeyCount)) || in.MaxKeys != nil && n > int(*in.MaxKeys) {
			t.Errorf("page of %d, KeyCount %d", n, aws.ToInt32(out.KeyCount))
		}
		for _, o := range out.Contents {
			all = append(all, decode(o.Key))
		}
		for _, p := range out.CommonPrefixes {
			all = append(all, decode(p.Prefix))
		}
		if !*out.IsTruncated {
			return all
		}
		in.ContinuationToken = out.NextContinuationToken
	}
}

func TestListing(t *testing.T) {
	b := start(t, true, nil)
	keys := []string{"/lead", "a", "a b+c%/é", "a//b", "a/1", "a/2", "a0", "dir/", "dir/x", "odd\x01\n<&>", "z/1"}
	for _, key := range keys {
		b.put(t, key, nil)
	}
	for _, c := range []struct {
		name string
		in   awss3.ListObjectsV2Input
		want []string
	}{
		{"all", awss3.ListObjectsV2Input{}, keys},
		{"delimiter", awss3.ListObjectsV2Input{Delimiter: aws.String("/")}, []string{"a", "a0", "odd\x01\n<&>", "/", "a b+c%/", "a/", "dir/", "z/"}},
		{"prefix and delimiter", awss3.ListObjectsV2Input{Delimiter: aws.String("/"), Prefix: aws.String("a/")}, []string{"a/1", "a/2", "a//"}},
		{"marker itself", awss3.ListObjectsV2Input{Delimiter: aws.String("/"), Prefix: aws.String("dir/")}, []string{"dir/", "dir/x"}},
		{"start-after", awss3.ListObjectsV2Input{StartAfter: aws.String("a/1")}, keys[5:]},
		{"none", awss3.ListObjectsV2Input{Prefix: aws.String("q")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, b.walk(t, c.in)); d != "" {
				t.Error(d)
			}
			for pageSize := range int32(4) {
				c.in.MaxKeys, c.in.ContinuationToken = aws.Int32(pageSize+1), nil
				if pageSize == 3 { // the server's doing
					c.in.MaxKeys = nil
					b.LimitPages(2)
					defer b.LimitPages(0)
				}
				want, got := map[string]int{}, map[string]int{}
				for _, name := range c.want {
					want[name]++
				}
				for _, name := range b.walk(t, c.in) {
					got[name]++
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("in pages of %d: %s", pageSize+1, d)
				}
			}
		})
	}
}

func TestUploadListing(t *testing.T) {
	b := start(t, true, nil)
	ctx := bounded(t)
	var want []string
	for _, key := range []string{"a", "a", "dir/x", "dir/y", "z"} {
		out, err := b.client.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: demo, Key: &key})
		must(t, err)
		want = append(want, key+" "+*out.UploadId)
	}
	for pageSize := range int32(6) {
		in := &awss3.ListMultipartUploadsInput{Bucket: demo, MaxUploads: aws.Int32(pageSize + 1)}
		var got []string
		for more := true; more; {
			out, err := b.client.ListMultipartUploads(ctx, in)
			must(t, err)
			for _, u := range out.Uploads {
				got = append(got, *u.Key+" "+*u.UploadId)
			}
			more, in.KeyMarker, in.UploadIdMarker = *out.IsTruncated, out.NextKeyMarker, out.NextUploadIdMarker
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("in pages of %d: %s", pageSize+1, d)
		}
	}
	out, err := b.client.ListMultipartUploads(ctx, &awss3.ListMultipartUploadsInput{Bucket: demo, Delimiter: aws.String("/"), Prefix: aws.String("d")})
	must(t, err)
	if len(out.Uploads) != 0 || len(out.CommonPrefixes) != 1 || *out.CommonPrefixes[0].Prefix != "dir/" {
		t.Errorf("with a delimiter: %+v", out)
	}
}

func TestRouting(t *testing.T) {
	b := start(t, true, nil)
	ctx := bounded(t)
	b.put(t, "a/b", []byte("x"))
	virtual := awss3.New(b.client.Options(), func(o *awss3.Options) {
		o.UsePathStyle = false
		o.BaseEndpoint = aws.String(strings.Replace(b.url, "127.0.0.1", "localhost", 1))
		o.HTTPClient = b.dialing()
	})
	out, err := virtual.GetObject(ctx, &awss3.GetObjectInput{Bucket: demo, Key: aws.String("a/b")})
	must(t, err)
	out.Body.Close()
	_, err = b.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: demo, Key: aws.String("a/b"), Range: aws.String("bytes=1-")})
	fails(t, err, 416, "InvalidRange")
	_, err = b.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: demo, Key: aws.String("a/b"), ExpectedBucketOwner: aws.String("999999999999")})
	fails(t, err, 403, "AccessDenied")
	_, err = b.client.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("nowhere")})
	fails(t, err, 404, "NoSuchBucket")
	for _, op := range []string{"GetObject", "ListObjectsV2"} {
		if b.log.Count(op) == 0 {
			t.Errorf("%s is not logged", op)
		}
	}
}

func TestRegions(t *testing.T) {
	b := start(t, true, nil)
	ctx := bounded(t)
	must(t, b.CreateBucket("far", s3.BucketOptions{Region: "us-west-2"}))
	far := aws.String("far")
	_, err := b.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: far, Key: aws.String("k")})
	fails(t, err, 301, "PermanentRedirect")
	_, err = b.client.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: far})
	fails(t, err, 301, "")
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) || response.Response.Header.Get("X-Amz-Bucket-Region") != "us-west-2" {
		t.Errorf("the redirect does not name the region: %v", err)
	}
	west := awss3.New(b.client.Options(), func(o *awss3.Options) { o.Region = "us-west-2" })
	head, err := west.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: far})
	must(t, err)
	if aws.ToString(head.BucketRegion) != "us-west-2" {
		t.Errorf("bucket region %q", aws.ToString(head.BucketRegion))
	}
	_, err = west.PutObject(ctx, &awss3.PutObjectInput{Bucket: far, Key: aws.String("k"), ServerSideEncryption: "aws:kms", SSEKMSKeyId: &b.key})
	fails(t, err, 400, "")
}

func TestBuckets(t *testing.T) {
	b := start(t, true, nil)
	ctx := bounded(t)
	_, err := b.client.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: aws.String("nowhere")})
	fails(t, err, 404, "NotFound")
	all, err := b.client.ListBuckets(ctx, &awss3.ListBucketsInput{})
	must(t, err)
	if len(all.Buckets) != 1 || *all.Buckets[0].Name != "demo" {
		t.Errorf("buckets: %+v", all.Buckets)
	}
	_, err = b.client.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("another")})
	must(t, err)
	_, err = b.client.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("another")})
	fails(t, err, 409, "BucketAlreadyOwnedByYou")
	b.put(t, "k", nil)
	_, err = b.client.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: demo})
	fails(t, err, 409, "BucketNotEmpty")
}

func TestLimits(t *testing.T) {
	b := start(t, true, nil)
	_, err := b.client.PutObject(t.Context(), b.input(strings.Repeat("k", 1024), nil))
	must(t, err)
	_, err = b.client.PutObject(t.Context(), b.input(strings.Repeat("k", 1025), nil))
	fails(t, err, 400, "KeyTooLongError")
	in := b.input("meta", nil)
	in.Metadata = map[string]string{"k": strings.Repeat("v", 2047)}
	_, err = b.client.PutObject(t.Context(), in)
	must(t, err)
	in.Metadata["k"] += "v"
	_, err = b.client.PutObject(t.Context(), in)
	fails(t, err, 400, "MetadataTooLarge")
}
