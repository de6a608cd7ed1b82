package sandbox

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// httpClient trusts the sandbox's CA and nothing else.
func httpClient(t *testing.T, s *Server) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	if s.CAFile() != "" {
		text, err := os.ReadFile(s.CAFile())
		roots := x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(text) {
			t.Fatalf("CA %s: %v", s.CAFile(), err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &http.Client{Transport: transport}
}

func clients(t *testing.T, s *Server, id wire.Identity) (*awss3.Client, *awskms.Client) {
	config := aws.Config{
		Region: Region, HTTPClient: httpClient(t, s), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(id.AccessKey, id.SecretKey, ""),
	}
	return awss3.NewFromConfig(config, func(o *awss3.Options) { o.BaseEndpoint, o.UsePathStyle = aws.String(s.URL()), true }),
		awskms.NewFromConfig(config, func(o *awskms.Options) { o.BaseEndpoint = aws.String(s.KMSURL()) })
}

func user() wire.Identity { return wire.Identity{AccessKey: AccessKey, SecretKey: SecretKey} }

func putKMS(ctx context.Context, c *awss3.Client, key, content string) (*awss3.PutObjectOutput, error) {
	return c.PutObject(ctx, &awss3.PutObjectInput{
		Bucket: aws.String(Bucket), Key: &key, Body: strings.NewReader(content),
		ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: aws.String(KeyAlias), BucketKeyEnabled: aws.Bool(true),
	})
}

func get(ctx context.Context, c *awss3.Client, key string) (string, error) {
	out, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String(Bucket), Key: &key})
	if err != nil {
		return "", err
	}
	defer out.Body.Close()
	var text bytes.Buffer
	_, err = io.Copy(&text, out.Body)
	return text.String(), err
}

func TestConventions(t *testing.T) {
	for name, o := range map[string]Options{"plain": {}, "tls": {TLS: true, RequireTLS: true}, "tls and dir": {TLS: true, Dir: t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			s, ctx := start(t, o), testContext(t)
			s3c, kmsc := clients(t, s, user())
			key, err := kmsc.DescribeKey(ctx, &awskms.DescribeKeyInput{KeyId: aws.String(KeyAlias)})
			if err != nil {
				t.Fatal(err)
			}
			put, err := putKMS(ctx, s3c, "a/b", "content")
			if err != nil || aws.ToString(put.SSEKMSKeyId) != *key.KeyMetadata.Arn || put.ServerSideEncryption != "aws:kms" {
				t.Fatalf("%+v, %v", put, err)
			}
			if text, err := get(ctx, s3c, "a/b"); err != nil || text != "content" {
				t.Errorf("%q, %v", text, err)
			}
			for op, n := range map[string]int{"DescribeKey": 1, "PutObject": 1, "GetObject": 1, "GenerateDataKey": 1} {
				if s.Log.Count(op) != n {
					t.Errorf("%s: %d calls, want %d", op, s.Log.Count(op), n)
				}
			}
		})
	}
}

func TestRestart(t *testing.T) {
	dir, ctx := t.TempDir(), testContext(t)
	first := start(t, Options{TLS: true, Dir: dir})
	client := httpClient(t, first)
	s3c, _ := clients(t, first, user())
	if _, err := putKMS(ctx, s3c, "k", "survives"); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := start(t, Options{TLS: true, Dir: dir})
	s3c, _ = clients(t, second, user())
	if text, err := get(ctx, s3c, "k"); err != nil || text != "survives" {
		t.Errorf("%q, %v", text, err)
	}
	resp, err := client.Get(second.URL()) // trusts the CA as it was
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for name, mode := range map[string]os.FileMode{caKeyName: 0o600, "kms/kms-toy-keys.json": 0o600} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
}

// TestKeyRights takes the key's right away and turns the key off, which is what users must see as errors of S3.
func TestKeyRights(t *testing.T) {
	s, ctx := start(t, Options{}), testContext(t)
	s3c, _ := clients(t, s, user())
	if _, err := putKMS(ctx, s3c, "k", "content"); err != nil {
		t.Fatal(err)
	}
	arn := s.KMS.KeyARN(KeyAlias)
	check := func(code string) {
		t.Helper()
		s.S3.FlushBucketKeys()
		var e smithy.APIError
		if _, err := get(ctx, s3c, "k"); !errors.As(err, &e) || e.ErrorCode() != code {
			t.Errorf("get: %v, want %s", err, code)
		}
	}
	undo := s.Denials.Deny("kms:Decrypt", arn)
	check("AccessDenied")
	undo()
	if err := s.KMS.Disable(arn); err != nil {
		t.Fatal(err)
	}
	check("KMS.DisabledException")
	if err := errors.Join(s.KMS.Enable(arn), s.KMS.ScheduleDeletion(arn)); err != nil {
		t.Fatal(err)
	}
	check("KMS.KMSInvalidStateException")
}

func TestVirtualHost(t *testing.T) {
	s, ctx := start(t, Options{TLS: true}), testContext(t)
	client := httpClient(t, s)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL(), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+port) // *.localhost is not resolved everywhere
	}
	c := awss3.New(awss3.Options{
		Region: Region, HTTPClient: client, BaseEndpoint: aws.String("https://localhost:" + port),
		Credentials: credentials.NewStaticCredentialsProvider(AccessKey, SecretKey, ""),
	})
	if _, err := putKMS(ctx, c, "k", "content"); err != nil {
		t.Fatal(err)
	}
	if text, err := get(ctx, c, "k"); err != nil || text != "content" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestClose(t *testing.T) {
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	s3c, _ := clients(t, s, user())
	s.Faults.Add(wire.Fault{Op: "PutObject", Kind: wire.Hang})
	done := make(chan error, 1)
	go func() {
		_, err := putKMS(testContext(t), s3c, "k", "content")
		done <- err
	}()
	if err := s.Log.Wait(testContext(t), "PutObject", 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // releases what hangs, and waits for it
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("request that hung: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := http.Get(s.URL()); err == nil {
		t.Error("closed, and answers")
	}
}

// TestCloseDoesNotWaitForUnusedConnections: HTTP clients keep such connections in reserve.
func TestCloseDoesNotWaitForUnusedConnections(t *testing.T) {
	s := start(t, Options{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s3c, _ := clients(t, s, user())
	if _, err := putKMS(testContext(t), s3c, "k", "content"); err != nil { // accepted after the other connection
		t.Fatal(err)
	}
	begin := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > grace/2 {
		t.Errorf("took %v", took)
	}
}

func TestStartRefused(t *testing.T) {
	s := start(t, Options{})
	if _, err := Start(Options{Listen: strings.TrimPrefix(s.URL(), "http://")}); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("started on a port in use: %v", err)
	}
	damaged := t.TempDir()
	if err := os.Mkdir(filepath.Join(damaged, "kms"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(damaged, "kms", "kms-toy-keys.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Options{Dir: damaged}); err == nil || !strings.Contains(err.Error(), "kms-toy-keys.json") {
		t.Errorf("started over damaged keys: %v", err)
	}
}
