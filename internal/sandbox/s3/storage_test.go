package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/kmsfs/kmsfs/internal/sandbox/s3"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// inDir keeps the storage in dir.
func inDir(dir string) func(*s3.Options) { return func(o *s3.Options) { o.Dir = dir } }

// restart opens the same storage again, behind the same endpoint.
func (b *sandbox) restart(t *testing.T) {
	t.Helper()
	must(t, b.Close())
	again, err := s3.New(b.options)
	must(t, err)
	b.swap(again)
}

// blobs counts the blobs in dir.
func (b *sandbox) blobs(t *testing.T, dir string) int { return len(files(t, dir)) + b.Packed() }

// files returns the blobs in dir that have a file of their own.
func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(filepath.Join(dir, "blobs"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && entry.Name() != "small.pack" {
			all = append(all, path)
		}
		return err
	}))
	return all
}

func TestStorageSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	b := start(t, false, inDir(dir))
	ctx := bounded(t)
	body := noise(5 << 20)
	in := b.input("a", body)
	in.Metadata, in.Tagging = map[string]string{"k": "v"}, aws.String("a=b")
	_, err := b.client.PutObject(ctx, in)
	must(t, err)
	_, err = b.client.PutObject(ctx, &awss3.PutObjectInput{Bucket: demo, Key: aws.String("under SSE-S3"), Body: strings.NewReader("x")})
	must(t, err)
	b.put(t, "gone", []byte("x"))
	_, err = b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: demo, Key: aws.String("gone")})
	must(t, err)
	must(t, b.CreateBucket("versions", s3.BucketOptions{Versioning: s3.Enabled, Encryption: s3.Encryption{Algorithm: "aws:kms", KeyID: b.key, BucketKey: true}}))
	var ids []string
	for _, text := range []string{"one", "two"} {
		out, err := b.client.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String("versions"), Key: aws.String("k"), Body: strings.NewReader(text)})
		must(t, err)
		ids = append(ids, *out.VersionId)
	}
	created, err := b.client.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: demo, Key: aws.String("m"), ServerSideEncryption: "aws:kms", SSEKMSKeyId: &b.key})
	must(t, err)
	_, err = b.client.UploadPart(ctx, &awss3.UploadPartInput{Bucket: demo, Key: aws.String("m"), UploadId: created.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(body)})
	must(t, err)
	before := b.head(t, "a")

	for range 2 { // the second start reads what the first one rewrote
		b.restart(t)
	}
	equal(t, "object", b.get(t, "a", ""), body)
	equal(t, "object under SSE-S3", b.get(t, "under SSE-S3", ""), []byte("x"))
	after := b.head(t, "a")
	if *after.ETag != *before.ETag || !after.LastModified.Equal(*before.LastModified) || after.Metadata["k"] != "v" || *after.TagCount != 1 || *after.SSEKMSKeyId != b.key {
		t.Errorf("head before %+v and after %+v", before, after)
	}
	_, err = b.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: demo, Key: aws.String("gone")})
	fails(t, err, 404, "NotFound")
	old, err := b.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("versions"), Key: aws.String("k"), VersionId: &ids[0]})
	must(t, err)
	text, err := io.ReadAll(old.Body)
	must(t, errors.Join(err, old.Body.Close()))
	if string(text) != "one" || !aws.ToBool(old.BucketKeyEnabled) {
		t.Errorf("old version %q, bucket key %v", text, old.BucketKeyEnabled)
	}
	_, err = b.client.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: demo, Key: aws.String("m"), UploadId: created.UploadId, MultipartUpload: b.listed(t, "m", created.UploadId)})
	must(t, err)
	b.restart(t)
	equal(t, "upload", b.get(t, "m", ""), body)
	if n := b.blobs(t, dir); n != 5 {
		t.Errorf("%d blobs, want 5", n)
	}
}

// TestTornJournal: a transaction that a crash cut short did not happen, and what it wrote is swept.
func TestTornJournal(t *testing.T) {
	dir := t.TempDir()
	b := start(t, false, inDir(dir))
	b.put(t, "a", []byte("first"))
	path := filepath.Join(dir, "index.jsonl")
	whole, err := os.ReadFile(path)
	must(t, err)
	b.put(t, "a", []byte("second"))
	later, err := os.ReadFile(path)
	must(t, err)
	must(t, b.Close())
	for cut := len(whole); cut < len(later); cut += 37 {
		must(t, os.WriteFile(path, later[:cut], 0o600))
		again, err := s3.New(b.options)
		must(t, err)
		b.swap(again)
		equal(t, fmt.Sprintf("journal cut at byte %d of %d", cut, len(later)), b.get(t, "a", ""), []byte("first"))
		must(t, again.Close())
	}
	torn, err := os.OpenFile(filepath.Join(dir, "blobs", "small.pack"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	record := make([]byte, 50)
	record[39] = 100 // after a whole record without content, one of 100 bytes that was cut short
	_, err = torn.Write(record)
	must(t, errors.Join(err, torn.Close()))
	must(t, os.WriteFile(filepath.Join(dir, "blobs", "ab", "abandoned"), nil, 0o600))
	again, err := s3.New(b.options)
	must(t, err)
	b.swap(again) // which the end of the test closes
	equal(t, "over a torn pack", b.get(t, "a", ""), []byte("first"))
	if n := b.blobs(t, dir); n != 1 {
		t.Errorf("%d blobs, want that of the object", n)
	}
}

func TestDataAtRestIsSealed(t *testing.T) {
	dir := t.TempDir()
	b := start(t, false, inDir(dir))
	secret := bytes.Repeat([]byte("a very recognizable secret "), 10_000)
	b.put(t, "a", secret)
	_, err := b.client.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: demo, Key: aws.String("b"), Body: bytes.NewReader(secret)})
	must(t, err)
	must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte("recognizable")) {
			t.Errorf("%s holds plaintext", entry.Name())
		}
		return err
	}))
	for _, path := range files(t, dir) { // a changed bit is found, at the latest when its frame is read
		blob, err := os.ReadFile(path)
		must(t, err)
		blob[len(blob)/2] ^= 1
		must(t, os.WriteFile(path, blob, 0o600))
	}
	out, err := b.client.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: demo, Key: aws.String("a")})
	must(t, err)
	if _, err := io.ReadAll(out.Body); err == nil {
		t.Error("a tampered blob was read")
	}
	out.Body.Close()
}

// TestReadersKeepTheirVersion: an object that is overwritten or deleted while it is read is read to its end, parts that
// were not open yet included.
func TestReadersKeepTheirVersion(t *testing.T) {
	dir := t.TempDir()
	b := start(t, true, inDir(dir))
	body := noise(25 << 20)
	b.upload(t, &awss3.CreateMultipartUploadInput{Key: aws.String("a")}, body[:20<<20], body[20<<20:])
	out, err := b.client.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: demo, Key: aws.String("a")})
	must(t, err)
	first := make([]byte, 1<<20)
	_, err = io.ReadFull(out.Body, first)
	must(t, err)
	b.put(t, "a", []byte("new"))
	_, err = b.client.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: demo, Key: aws.String("a")})
	must(t, err)
	rest, err := io.ReadAll(out.Body)
	must(t, err)
	out.Body.Close()
	equal(t, "what was open", append(first, rest...), body)
}

// TestUnfinishedRequestsLeaveNothing: neither a refused nor a torn body leaves a blob behind.
func TestUnfinishedRequestsLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	b := start(t, true, inDir(dir))
	in := b.input("a", noise(1<<20))
	in.ChecksumCRC32 = aws.String("AAAAAA==")
	_, err := b.client.PutObject(t.Context(), in)
	fails(t, err, 400, "BadDigest")
	in = b.input("a", noise(1<<20))
	in.IfMatch = aws.String(`"0"`)
	_, err = b.client.PutObject(t.Context(), in)
	fails(t, err, 404, "NoSuchKey")
	b.upload(t, &awss3.CreateMultipartUploadInput{Key: aws.String("m")}, noise(5<<20), noise(1))
	_, err = b.client.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: demo, Key: aws.String("m")})
	must(t, err)
	created, err := b.client.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: demo, Key: aws.String("m")})
	must(t, err)
	for range 2 { // the second replaces the first
		_, err = b.client.UploadPart(t.Context(), &awss3.UploadPartInput{Bucket: demo, Key: aws.String("m"), UploadId: created.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x")})
		must(t, err)
	}
	if n := b.blobs(t, dir); n != 1 {
		t.Errorf("%d blobs, want that of the part", n)
	}
	_, err = b.client.AbortMultipartUpload(t.Context(), &awss3.AbortMultipartUploadInput{Bucket: demo, Key: aws.String("m"), UploadId: created.UploadId})
	must(t, err)
	if n := b.blobs(t, dir); n != 0 {
		t.Errorf("%d blobs that nothing refers to", n)
	}
}

// TestFaultsOfBothForms: a request that fails may have been applied, or not.
func TestFaultsOfBothForms(t *testing.T) {
	b := start(t, true, nil)
	for _, c := range []struct {
		kind    wire.FaultKind
		applied bool
	}{{wire.Answer, false}, {wire.AnswerAfter, true}, {wire.ResetBefore, false}, {wire.ResetAfter, true}} {
		key := fmt.Sprint("k", c.kind)
		rule := b.faults.Add(wire.Fault{Op: "PutObject", Key: key, Kind: c.kind, Status: 503, Code: "SlowDown"})
		if _, err := b.client.PutObject(t.Context(), b.input(key, []byte("x"))); err == nil {
			t.Errorf("kind %d does not fail", c.kind)
		}
		rule.Remove()
		_, err := b.client.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: demo, Key: &key})
		if (err == nil) != c.applied {
			t.Errorf("kind %d: applied is %v, want %v", c.kind, err == nil, c.applied)
		}
	}
	rule := b.faults.Add(wire.Fault{Op: "PutObject", Kind: wire.EditHeader, Edit: func(h http.Header) { h.Del("X-Amz-Server-Side-Encryption") }})
	defer rule.Remove()
	if out := b.put(t, "a", nil); out.ServerSideEncryption != "" || out.SSEKMSKeyId == nil {
		t.Errorf("the echo is not dropped: %+v", out)
	}
}
