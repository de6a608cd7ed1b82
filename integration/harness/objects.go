package harness

import (
	"bytes"
	"context"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Keys lists every key of the bucket below the prefix, relative to it.
func (s *Server) Keys(t testing.TB) []string {
	t.Helper()
	var keys []string
	pages := s3.NewListObjectsV2Paginator(s.S3, &s3.ListObjectsV2Input{
		Bucket: &s.Bucket, Prefix: &s.Prefix, EncodingType: types.EncodingTypeUrl, // XML cannot carry every key
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			t.Fatalf("list %s: %v", s.Bucket, err)
		}
		for _, o := range page.Contents {
			key := *o.Key
			if page.EncodingType == types.EncodingTypeUrl { // versitygw sends them as they are
				key, err = url.QueryUnescape(key)
				Must(t, err)
			}
			keys = append(keys, strings.TrimPrefix(key, s.Prefix))
		}
	}
	return keys
}

// Head asks the server for one object.
func (s *Server) Head(t testing.TB, key string) *s3.HeadObjectOutput {
	t.Helper()
	out, err := s.S3.HeadObject(context.Background(), &s3.HeadObjectInput{Bucket: &s.Bucket, Key: aws.String(s.Prefix + key)})
	if err != nil {
		t.Fatalf("head %s: %v", key, err)
	}
	return out
}

// Get reads the content of one object through the independent client.
func (s *Server) Get(t testing.TB, key string) []byte {
	t.Helper()
	body := s.Raw(t, key)
	if s.Mode == SSE || strings.HasSuffix(key, "/") {
		return body
	}
	return s.Open(t, key, body)
}

// Raw reads one object as it is stored. Each of edit may change the request.
func (s *Server) Raw(t testing.TB, key string, edit ...func(*s3.GetObjectInput)) []byte {
	t.Helper()
	in := &s3.GetObjectInput{Bucket: &s.Bucket, Key: aws.String(s.Prefix + key)}
	for _, f := range edit {
		f(in)
	}
	out, err := s.S3.GetObject(context.Background(), in)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	defer out.Body.Close()
	body, err := readAll(out.Body, aws.ToInt64(out.ContentLength))
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	return body
}

// readAll is io.ReadAll of about size bytes: a buffer that grows is copied over
// and over, which takes long under the race detector.
func readAll(r io.Reader, size int64) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// Put writes content through the independent client, encrypted as the mode
// says.
func (s *Server) Put(t testing.TB, key string, content []byte, edit ...func(*s3.PutObjectInput)) {
	t.Helper()
	if s.Mode != SSE && !strings.HasSuffix(key, "/") {
		content = s.Seal(t, s.vault.ring, key, content)
	}
	s.PutRaw(t, key, content, edit...)
}

// PutRaw writes one object as it is, but under SSE-KMS if the mode says so.
func (s *Server) PutRaw(t testing.TB, key string, body []byte, edit ...func(*s3.PutObjectInput)) {
	t.Helper()
	in := &s3.PutObjectInput{Bucket: &s.Bucket, Key: aws.String(s.Prefix + key), Body: bytes.NewReader(body)}
	if s.Mode != Envelope {
		in.ServerSideEncryption = types.ServerSideEncryptionAwsKms
	}
	if s.Mode != Envelope && s.KeyPart != "" {
		in.SSEKMSKeyId = &s.KeyPart
	}
	for _, f := range edit {
		f(in)
	}
	if _, err := s.S3.PutObject(context.Background(), in); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

// Delete removes one object through the independent client.
func (s *Server) Delete(t testing.TB, key string) {
	t.Helper()
	if _, err := s.S3.DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &s.Bucket, Key: aws.String(s.Prefix + key)}); err != nil {
		t.Fatalf("delete %s: %v", key, err)
	}
}

// MustBeEncrypted fails the test for each object that is not encrypted as the
// mode says, under the server's key.
func (s *Server) MustBeEncrypted(t testing.TB) {
	t.Helper()
	for _, key := range s.Keys(t) {
		if s.Mode != SSE {
			s.mustBeSealed(t, key)
		}
		if s.Mode == Envelope {
			continue
		}
		head := s.Head(t, key)
		if head.ServerSideEncryption != types.ServerSideEncryptionAwsKms {
			t.Errorf("%s is under %q, want aws:kms", key, head.ServerSideEncryption)
		}
		if !strings.HasSuffix(aws.ToString(head.SSEKMSKeyId), s.KeyPart) {
			t.Errorf("%s is under key %q, want one ending in %q", key, aws.ToString(head.SSEKMSKeyId), s.KeyPart)
		}
	}
}
