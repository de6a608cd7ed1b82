package s3_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/kmsfs/kmsfs/internal/sandbox/kms"
	"github.com/kmsfs/kmsfs/internal/sandbox/s3"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

const (
	principal = "arn:aws:iam::111122223333:user/kmsfs"
)

// A sandbox is both endpoints behind real connections, and the SDK's clients for them.
type sandbox struct {
	*s3.Server
	client  *awss3.Client
	kms     *awskms.Client
	key     string // ARN of a symmetric key
	url     string
	http    *http.Client
	log     *wire.Log
	faults  *wire.Faults
	denials *wire.Denials
	options s3.Options
	serving atomic.Pointer[s3.Server]
}

// swap has the endpoint served by another server.
func (b *sandbox) swap(s *s3.Server) {
	b.Server = s
	b.serving.Store(s)
}

func (b *sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) { b.serving.Load().ServeHTTP(w, r) }

// start serves both endpoints, S3 over TLS unless plain is set, and makes a key and the bucket demo.
func start(t *testing.T, plain bool, edit func(*s3.Options)) *sandbox {
	t.Helper()
	b := &sandbox{log: &wire.Log{}, faults: &wire.Faults{}, denials: &wire.Denials{}}
	identities := func(key string) (wire.Identity, bool) {
		return wire.Identity{AccessKey: "kmsfs", SecretKey: "kmsfs-secret", ARN: principal}, key == "kmsfs"
	}
	keys, err := kms.New(kms.Options{Identities: identities, Log: b.log, Faults: b.faults, Denials: b.denials})
	must(t, err)
	kmsServer := httptest.NewServer(keys)
	t.Cleanup(kmsServer.Close)
	config := aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("kmsfs", "kmsfs-secret", ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported, ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported}
	b.kms = awskms.NewFromConfig(config, func(o *awskms.Options) { o.BaseEndpoint = &kmsServer.URL })
	made, err := b.kms.CreateKey(t.Context(), &awskms.CreateKeyInput{})
	must(t, err)
	b.key = *made.KeyMetadata.Arn

	b.options = s3.Options{KMS: keys, Identities: identities, Log: b.log, Faults: b.faults, Denials: b.denials}
	if edit != nil {
		edit(&b.options)
	}
	first, err := s3.New(b.options)
	must(t, err)
	b.swap(first)
	t.Cleanup(func() { must(t, b.Close()) })
	must(t, b.CreateBucket("demo", s3.BucketOptions{}))
	server := httptest.NewUnstartedServer(b)
	if plain {
		server.Start()
	} else {
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	b.url, b.http = server.URL, server.Client()
	b.client = awss3.NewFromConfig(config, func(o *awss3.Options) {
		o.BaseEndpoint, o.UsePathStyle, o.HTTPClient, o.Retryer = &server.URL, true, b.http, aws.NopRetryer{}
	})
	b.log.Reset()
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put stores body under SSE-KMS with the sandbox's key.
func (b *sandbox) put(t *testing.T, key string, body []byte) *awss3.PutObjectOutput {
	t.Helper()
	out, err := b.client.PutObject(t.Context(), b.input(key, body))
	must(t, err)
	return out
}

func (b *sandbox) input(key string, body []byte) *awss3.PutObjectInput {
	return &awss3.PutObjectInput{Bucket: aws.String("demo"), Key: &key, Body: bytes.NewReader(body),
		ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &b.key}
}

// get reads an object, or a range of it.
func (b *sandbox) get(t *testing.T, key, ranges string) []byte {
	t.Helper()
	in := &awss3.GetObjectInput{Bucket: aws.String("demo"), Key: &key}
	if ranges != "" {
		in.Range = &ranges
	}
	out, err := b.client.GetObject(t.Context(), in)
	must(t, err)
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	must(t, err)
	return body
}

func (b *sandbox) head(t *testing.T, key string) *awss3.HeadObjectOutput {
	t.Helper()
	out, err := b.client.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: aws.String("demo"), Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	must(t, err)
	return out
}

// upload makes an object of parts under SSE-KMS.
func (b *sandbox) upload(t *testing.T, in *awss3.CreateMultipartUploadInput, parts ...[]byte) *awss3.CompleteMultipartUploadOutput {
	t.Helper()
	in.Bucket, in.ServerSideEncryption, in.SSEKMSKeyId = aws.String("demo"), types.ServerSideEncryptionAwsKms, &b.key
	created, err := b.client.CreateMultipartUpload(t.Context(), in)
	must(t, err)
	done := &types.CompletedMultipartUpload{}
	for i, p := range parts {
		n := aws.Int32(int32(i + 1))
		out, err := b.client.UploadPart(t.Context(), &awss3.UploadPartInput{Bucket: in.Bucket, Key: in.Key, UploadId: created.UploadId, PartNumber: n,
			Body: bytes.NewReader(p), ChecksumAlgorithm: in.ChecksumAlgorithm})
		must(t, err)
		done.Parts = append(done.Parts, types.CompletedPart{PartNumber: n, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32,
			ChecksumCRC32C: out.ChecksumCRC32C, ChecksumCRC64NVME: out.ChecksumCRC64NVME, ChecksumSHA256: out.ChecksumSHA256})
	}
	out, err := b.client.CompleteMultipartUpload(t.Context(), &awss3.CompleteMultipartUploadInput{Bucket: in.Bucket, Key: in.Key,
		UploadId: created.UploadId, MultipartUpload: done})
	must(t, err)
	return out
}

// asymmetric makes a key that S3 cannot use.
func (b *sandbox) asymmetric(t *testing.T) string {
	t.Helper()
	out, err := b.kms.CreateKey(t.Context(), &awskms.CreateKeyInput{KeySpec: kmstypes.KeySpecRsa2048, KeyUsage: kmstypes.KeyUsageTypeEncryptDecrypt})
	must(t, err)
	return *out.KeyMetadata.Arn
}

// header returns a middleware that adds a header which the SDK would not send.
func header(name, value string) func(*awss3.Options) {
	return awss3.WithAPIOptions(smithyhttp.AddHeaderValue(name, value))
}

// fails checks the code and status of an error that the server answered.
func fails(t *testing.T, err error, status int, code string) {
	t.Helper()
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) || response.HTTPStatusCode() != status {
		t.Errorf("want status %d, got %v", status, err)
	}
	var api smithy.APIError
	if code != "" && (!errors.As(err, &api) || api.ErrorCode() != code) {
		t.Errorf("want %s, got %v", code, err)
	}
}

// count checks how often KMS was called since the last check.
func (b *sandbox) count(t *testing.T, what string, generate, decrypt int) {
	t.Helper()
	if g, d := b.log.Count("GenerateDataKey"), b.log.Count("Decrypt"); g != generate || d != decrypt {
		t.Errorf("%s: %d GenerateDataKey and %d Decrypt, want %d and %d", what, g, d, generate, decrypt)
	}
	for _, r := range b.log.Requests() {
		if r.Service == "kms" && !r.Internal {
			t.Errorf("%s: a call of S3's is not logged as internal: %+v", what, r)
		}
	}
	b.log.Reset()
}

// noise returns n bytes that do not repeat.
func noise(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(p)
	return p
}

func encodeContext(json string) string { return base64.StdEncoding.EncodeToString([]byte(json)) }

func equal(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d bytes differ from the %d wanted", what, len(got), len(want))
	}
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// dialing is a client that finds every host at the server's address.
func (b *sandbox) dialing() *http.Client {
	address := strings.TrimPrefix(b.url, "http://")
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}
}
