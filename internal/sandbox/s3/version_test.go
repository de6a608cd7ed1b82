package s3_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
	"github.com/kmsfs/kmsfs/internal/sandbox/s3"
)

// A history is one key of a versioned bucket.
type history struct {
	*sandbox
	t           *testing.T
	bucket, key *string
}

func newHistory(t *testing.T) history {
	t.Helper()
	b := start(t, false, nil)
	must(t, b.CreateBucket("versions", s3.BucketOptions{Versioning: s3.Enabled}))
	return history{b, t, aws.String("versions"), aws.String("k")}
}

// write puts a version and returns its ID.
func (h history) write(body string) string {
	h.t.Helper()
	out, err := h.client.PutObject(h.t.Context(), &awss3.PutObjectInput{Bucket: h.bucket, Key: h.key, Body: strings.NewReader(body)})
	must(h.t, err)
	return aws.ToString(out.VersionId)
}

// version returns nil for no version.
func version(id string) *string {
	if id == "" {
		return nil
	}
	return &id
}

func (h history) read(id string) (string, error) {
	out, err := h.client.GetObject(h.t.Context(), &awss3.GetObjectInput{Bucket: h.bucket, Key: h.key, VersionId: version(id)})
	if err != nil {
		return "", err
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	return string(body), err
}

func (h history) expect(id, want string) {
	h.t.Helper()
	if got, err := h.read(id); err != nil || got != want {
		h.t.Errorf("version %q: %q, %v, want %q", id, got, err, want)
	}
}

func (h history) remove(id string) *awss3.DeleteObjectOutput {
	h.t.Helper()
	out, err := h.client.DeleteObject(h.t.Context(), &awss3.DeleteObjectInput{Bucket: h.bucket, Key: h.key, VersionId: version(id)})
	must(h.t, err)
	return out
}

func TestVersions(t *testing.T) {
	h := newHistory(t)
	one := h.write("one")
	h.write("two")
	h.expect("", "two")
	h.expect(one, "one")
	marker := h.remove("")
	if !aws.ToBool(marker.DeleteMarker) || aws.ToString(marker.VersionId) == "" {
		t.Errorf("delete makes no marker: %+v", marker)
	}
	_, err := h.read("")
	fails(t, err, 404, "NoSuchKey")
	_, err = h.read(*marker.VersionId)
	fails(t, err, 405, "MethodNotAllowed")
	listing, err := h.client.ListObjectVersions(t.Context(), &awss3.ListObjectVersionsInput{Bucket: h.bucket})
	must(t, err)
	if len(listing.Versions) != 2 || len(listing.DeleteMarkers) != 1 || !*listing.DeleteMarkers[0].IsLatest {
		t.Errorf("versions: %+v", listing)
	}
	plain, err := h.client.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: h.bucket, Delimiter: aws.String("k")})
	must(t, err)
	if len(plain.Contents) != 0 || len(plain.CommonPrefixes) != 0 {
		t.Errorf("a deleted object is listed: %+v", plain)
	}
	if gone := h.remove(*marker.VersionId); !aws.ToBool(gone.DeleteMarker) {
		t.Error("removing a marker does not say so")
	}
	h.expect("", "two")
}

func TestSuspendedVersioning(t *testing.T) {
	h := newHistory(t)
	one, two := h.write("one"), h.write("two")
	_, err := h.client.PutBucketVersioning(t.Context(), &awss3.PutBucketVersioningInput{Bucket: h.bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended}})
	must(t, err)
	if id := h.write("three"); id != "null" {
		t.Errorf("a suspended bucket gives version %q, want null", id)
	}
	h.write("four")
	h.expect("null", "four")
	h.expect(two, "two")
	h.remove("")
	_, err = h.read("null")
	fails(t, err, 405, "")
	deleted, err := h.client.DeleteObjects(t.Context(), &awss3.DeleteObjectsInput{Bucket: h.bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: h.key, VersionId: aws.String("null")}, {Key: h.key, VersionId: &two}, {Key: h.key, VersionId: &one}}}})
	must(t, err)
	if len(deleted.Deleted) != 3 || len(deleted.Errors) != 0 {
		t.Errorf("DeleteObjects: %+v", deleted)
	}
	_, err = h.read(one)
	fails(t, err, 404, "NoSuchVersion")
	_, err = h.client.DeleteBucket(t.Context(), &awss3.DeleteBucketInput{Bucket: h.bucket})
	must(t, err)
	_, err = h.client.HeadBucket(t.Context(), &awss3.HeadBucketInput{Bucket: h.bucket})
	fails(t, err, http.StatusNotFound, "")
}

// TestVersionListing: pages of any size hold all versions once, the newest of each key first.
func TestVersionListing(t *testing.T) {
	h := newHistory(t)
	var want []string
	for _, name := range []string{"a", "b", "c"} {
		var ids []string
		for range 3 {
			h.key = &name
			ids = append([]string{name + " " + h.write("x")}, ids...)
		}
		want = append(want, ids...)
	}
	for pageSize := range int32(10) {
		in := &awss3.ListObjectVersionsInput{Bucket: h.bucket, MaxKeys: aws.Int32(pageSize + 1)}
		var got []string
		for more := true; more; {
			out, err := h.client.ListObjectVersions(t.Context(), in)
			must(t, err)
			for _, v := range out.Versions {
				got = append(got, *v.Key+" "+*v.VersionId)
			}
			more, in.KeyMarker, in.VersionIdMarker = *out.IsTruncated, out.NextKeyMarker, out.NextVersionIdMarker
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("in pages of %d: %s", pageSize+1, d)
		}
	}
}

func TestTags(t *testing.T) {
	h := newHistory(t)
	one, two := h.write("one"), h.write("two")
	set := func(id, value string) {
		t.Helper()
		_, err := h.client.PutObjectTagging(t.Context(), &awss3.PutObjectTaggingInput{Bucket: h.bucket, Key: h.key, VersionId: version(id),
			Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("k &"), Value: &value}}}})
		must(t, err)
	}
	check := func(id string, want ...string) {
		t.Helper()
		out, err := h.client.GetObjectTagging(t.Context(), &awss3.GetObjectTaggingInput{Bucket: h.bucket, Key: h.key, VersionId: version(id)})
		must(t, err)
		var got []string
		for _, tag := range out.TagSet {
			got = append(got, *tag.Key+"="+*tag.Value)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("tags of version %q: %s", id, d)
		}
	}
	set(one, "old")
	set("", "new")
	check(one, "k &=old")
	check(two, "k &=new")
	h.expect(one, "one")
	_, err := h.client.DeleteObjectTagging(t.Context(), &awss3.DeleteObjectTaggingInput{Bucket: h.bucket, Key: h.key})
	must(t, err)
	check("")
	check(one, "k &=old")
}
