package s3io

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/internal/sandbox"
	boxs3 "github.com/kmsfs/kmsfs/internal/sandbox/s3"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// testTime bounds every test's operations.
const testTime = 30 * time.Second

// stage is a sandbox over TLS with buckets of every versioning, and the
// environment that leads the SDK to it.
type stage struct {
	t   *testing.T
	box *sandbox.Server
	ctx context.Context
}

func newStage(t *testing.T) *stage {
	t.Helper()
	box, err := sandbox.Start(sandbox.Options{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*testTime)
	t.Cleanup(func() {
		cancel()
		box.Faults.Clear()
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, versioning := range []string{boxs3.Enabled, boxs3.Suspended} {
		if err := box.S3.CreateBucket(strings.ToLower(versioning), boxs3.BucketOptions{Versioning: versioning}); err != nil {
			t.Fatal(err)
		}
	}
	environment(t, map[string]string{
		"AWS_ACCESS_KEY_ID": sandbox.AccessKey, "AWS_SECRET_ACCESS_KEY": sandbox.SecretKey, "AWS_REGION": sandbox.Region,
	})
	return &stage{t: t, box: box, ctx: ctx}
}

// environment leaves the SDK nothing but vars to find.
func environment(t *testing.T, vars map[string]string) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	all := map[string]string{
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_CA_BUNDLE": "", "AWS_MAX_ATTEMPTS": "",
		"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT_URL_KMS": "",
	}
	for name, value := range vars {
		all[name] = value
	}
	for name, value := range all {
		t.Setenv(name, value)
	}
}

// options leads to the bucket demo under alias/kmsfs-demo.
func (s *stage) options() Options {
	return Options{
		Bucket: sandbox.Bucket, Prefix: "pre/",
		Policy:   Policy{KeyID: sandbox.KeyAlias, Context: map[string]string{"team": "a b", "app": "kmsfs"}},
		Endpoint: s.box.URL(), KMSEndpoint: s.box.KMSURL(), CABundle: s.box.CAFile(), PathStyle: true,
		Memory: 16 << 20, SpoolDir: s.t.TempDir(), SpoolSize: 16 << 20,
		LookupTimeout: testTime, CommitTimeout: testTime,
	}
}

// open opens a bucket, nothing proven yet, and closes it with the test.
func (s *stage) open(edit func(*Options)) *Bucket {
	s.t.Helper()
	o := s.options()
	if edit != nil {
		edit(&o)
	}
	b, err := Open(s.ctx, o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTime)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			s.t.Errorf("close: %v", err)
		}
	})
	return b
}

// mount opens and probes a bucket.
func (s *stage) mount(edit func(*Options)) *Bucket {
	s.t.Helper()
	b := s.open(edit)
	if _, err := b.Probe(s.ctx); err != nil {
		s.t.Fatal(err)
	}
	return b
}

// fault puts one in force for as long as the test lasts.
func (s *stage) fault(f wire.Fault) *wire.Rule { return s.box.Faults.Add(f) }

// put stores text.
func (s *stage) put(b *Bucket, key, text string, c Condition) (Object, error) {
	return b.Put(s.ctx, key, strings.NewReader(text), int64(len(text)), Attrs{Meta: map[string]string{"mode": "33188"}}, c)
}

func (s *stage) mustPut(b *Bucket, key, text string) Object {
	s.t.Helper()
	o, err := s.put(b, key, text, Condition{})
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// text reads what is under key now; "absent" where there is nothing.
func (s *stage) text(b *Bucket, key string) string {
	s.t.Helper()
	o, err := b.Head(s.ctx, key)
	if KindOf(err) == NotExist {
		return "absent"
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return s.content(b, o)
}

// content reads exactly o.
func (s *stage) content(b *Bucket, o Object) string {
	s.t.Helper()
	body, err := b.Get(s.ctx, o, 0, -1)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// remains lists everything that is in a bucket: versions, delete markers,
// uploads.
func (s *stage) remains(b *Bucket) []string {
	s.t.Helper()
	versions, err := b.s3.ListObjectVersions(s.ctx, &s3.ListObjectVersionsInput{Bucket: &b.opts.Bucket})
	if err != nil {
		s.t.Fatal(err)
	}
	uploads, err := b.s3.ListMultipartUploads(s.ctx, &s3.ListMultipartUploadsInput{Bucket: &b.opts.Bucket})
	if err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for _, v := range versions.Versions {
		all = append(all, "version "+aws.ToString(v.Key))
	}
	for _, v := range versions.DeleteMarkers {
		all = append(all, "marker "+aws.ToString(v.Key))
	}
	for _, u := range uploads.Uploads {
		all = append(all, "upload "+aws.ToString(u.Key))
	}
	slices.Sort(all)
	return all
}

// clear removes every version from a bucket.
func (s *stage) clear(b *Bucket) {
	s.t.Helper()
	versions, err := b.s3.ListObjectVersions(s.ctx, &s3.ListObjectVersionsInput{Bucket: &b.opts.Bucket})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, v := range versions.Versions {
		if err := b.deleteVersion(s.ctx, strings.TrimPrefix(*v.Key, b.opts.Prefix), aws.ToString(v.VersionId)); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, v := range versions.DeleteMarkers {
		if err := b.deleteVersion(s.ctx, strings.TrimPrefix(*v.Key, b.opts.Prefix), aws.ToString(v.VersionId)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// wantKind fails unless err is of the kind.
func wantKind(t *testing.T, err error, want Kind) {
	t.Helper()
	if err == nil || KindOf(err) != want {
		t.Fatalf("got %v (kind %d), want kind %d", err, KindOf(err), want)
	}
}

// wantText fails unless err says each of the texts.
func wantText(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

// upload sends text as an upload of one part, not completed yet.
func (s *stage) upload(b *Bucket, key, text string, a Attrs) (upload, []part) {
	s.t.Helper()
	u, err := b.createUpload(s.ctx, key, a)
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := b.uploadPart(s.ctx, u, 1, bytes.NewReader([]byte(text)), int64(len(text)))
	if err != nil {
		s.t.Fatal(err)
	}
	return u, []part{p}
}

// createUpload begins an upload of content that is not sealed.
func (b *Bucket) createUpload(ctx context.Context, key string, a Attrs) (upload, error) {
	return b.beginUpload(ctx, key, a, func(ctx context.Context, h *heritage) error {
		return b.dress(ctx, h, nil, a, 0)
	})
}
