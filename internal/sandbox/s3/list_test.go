package s3_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
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
			for pageSize := range int32(3) {
				c.in.MaxKeys, c.in.ContinuationToken = aws.Int32(pageSize+1), nil
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

	west := awss3.New(b.client.Options(), func(o *awss3.Options) { o.Region = "us-west-2" })
	_, err = west.GetObject(ctx, &awss3.GetObjectInput{Bucket: demo, Key: aws.String("a/b")})
	fails(t, err, 301, "PermanentRedirect")
	_, err = west.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: demo})
	fails(t, err, 301, "")
	head, err := b.client.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: demo})
	must(t, err)
	if aws.ToString(head.BucketRegion) != "us-east-1" {
		t.Errorf("bucket region %q", aws.ToString(head.BucketRegion))
	}
	_, err = b.client.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: aws.String("nowhere")})
	fails(t, err, 404, "NotFound")
	_, err = b.client.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("nowhere")})
	fails(t, err, 404, "NoSuchBucket")
	all, err := b.client.ListBuckets(ctx, &awss3.ListBucketsInput{})
	must(t, err)
	if len(all.Buckets) != 1 || *all.Buckets[0].Name != "demo" {
		t.Errorf("buckets: %+v", all.Buckets)
	}
	_, err = b.client.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("another")})
	must(t, err)
	_, err = b.client.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("another")})
	fails(t, err, 409, "")
	want := map[string]int{"GetObject": 1, "HeadBucket": 1}
	for op, n := range want {
		if got := b.log.Count(op); got <= n {
			t.Errorf("%s was logged %d times", op, got)
		}
	}
	if _, err := b.client.PutObject(ctx, b.input(strings.Repeat("k", 1025), nil)); err == nil {
		t.Error("a key of 1,025 bytes was taken")
	}
	for n, size := range map[string]int{"fits": 2048, "does not": 2049} {
		in := b.input("meta", nil)
		in.Metadata = map[string]string{"k": strings.Repeat("v", size-1)}
		_, err := b.client.PutObject(ctx, in)
		if (err == nil) != (size == 2048) {
			t.Errorf("metadata of %d bytes %s: %v", size, n, err)
		}
	}
	fails(t, func() error {
		_, err := b.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: demo, Key: aws.String("a/b"), Range: aws.String("bytes=1-")})
		return err
	}(), 416, "InvalidRange")
}
