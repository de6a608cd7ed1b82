package harness

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/internal/sandbox"
	s3sandbox "github.com/kmsfs/kmsfs/internal/sandbox/s3"
)

// Server is an S3 endpoint with one bucket of a test's own.
type Server struct {
	Name    string // "sandbox", "minio", "minio-tls", "versitygw"
	Bucket  string
	Prefix  string // key prefix that Target mounts; "" or ends in "/"
	Key     string // KMS key as given to --sse-kms-key-id
	KeyPart string // what the key in the server's answers ends in
	URL     string // S3 endpoint

	Mode        Mode
	EnvelopeKey string // ARN of the KMS key that content is sealed under

	Plain   bool            // mount with a binary without the race detector
	Life    time.Duration   // how long a mount may live; 0 is Limit
	S3      *s3.Client      // independent client with the server's owner's rights
	Sandbox *sandbox.Server // nil for third-party servers

	access, secret, kmsURL, ca string
	env                        []string // more of Env
	state                      string
	vault                      *vault // nil in mode SSE
	proxy                      *Proxy // nil unless mounts go through one
}

// Target is what `kmsfs mount` mounts.
func (s *Server) Target() string { return "s3://" + s.Bucket + "/" + s.Prefix }

// Env is the environment of a client of the server: credentials and region,
// and nothing of the machine's own AWS configuration.
func (s *Server) Env() []string {
	return append([]string{
		"AWS_ACCESS_KEY_ID=" + s.access, "AWS_SECRET_ACCESS_KEY=" + s.secret, "AWS_SESSION_TOKEN=",
		"AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1", "AWS_PROFILE=", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
	}, s.env...)
}

// Setenv adds a variable to the environment of every later client of the server.
func (s *Server) Setenv(name, value string) { s.env = append(s.env, name+"="+value) }

// Flags are the flags of mounts of the server: where it is, and how the mode
// encrypts.
func (s *Server) Flags() []string { return append(s.Connection(), s.encryption()...) }

// Connection are the flags that say where the server is.
func (s *Server) Connection() []string {
	flags := []string{"--endpoint-url", s.URL, "--path-style"}
	if s.kmsURL != "" {
		flags = append(flags, "--kms-endpoint-url", s.kmsURL)
	}
	if s.ca != "" {
		flags = append(flags, "--ca-bundle", s.ca)
	}
	return flags
}

// encryption are the flags that say how the mode encrypts.
func (s *Server) encryption() (flags []string) {
	if s.Mode == Envelope {
		flags = []string{"--sse", "none"}
	} else if s.Key != "" {
		flags = []string{"--sse-kms-key-id", s.Key}
	}
	if s.Mode == Both {
		flags = append(flags, "--sse", "aws:kms")
	}
	if s.Mode != SSE {
		flags = append(flags, "--envelope-key-id", s.EnvelopeKey)
	}
	return flags
}

// CA returns the PEM file of the server's CA, "" for plain http.
func (s *Server) CA() string { return s.ca }

// KMSURL returns the KMS endpoint, "" where there is none.
func (s *Server) KMSURL() string { return s.kmsURL }

// stateDir is the state directory that all mounts of one test share.
func (s *Server) stateDir(t testing.TB) string {
	if s.state == "" {
		s.state = t.TempDir()
	}
	return s.state
}

// OtherHost returns the same server as another host sees it: with a state
// directory, and so an identity, of its own.
func (s *Server) OtherHost() *Server {
	other := *s
	other.state = ""
	return &other
}

// connect makes the independent client.
func (s *Server) connect(t testing.TB) {
	t.Helper()
	s.S3 = s3.NewFromConfig(aws.Config{
		Region:                     "us-east-1",
		Credentials:                credentials.NewStaticCredentialsProvider(s.access, s.secret, ""),
		HTTPClient:                 s.httpClient(t),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		BaseEndpoint:               aws.String(s.URL),
	}, func(o *s3.Options) { o.UsePathStyle = true })
}

// httpClient returns one that trusts the server.
func (s *Server) httpClient(t testing.TB) *http.Client {
	t.Helper()
	if s.ca == "" {
		return http.DefaultClient
	}
	pem, err := os.ReadFile(s.ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 16}}
}

// Sandbox starts a sandbox over TLS in this process. At the end of the test
// it must hold no unfinished upload and no object that was created without
// the expected SSE headers. Each of edit may change its options.
func Sandbox(t testing.TB, edit ...func(*sandbox.Options)) *Server {
	t.Helper()
	options := sandbox.Options{TLS: true}
	for _, f := range edit {
		f(&options)
	}
	sb, err := sandbox.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sb.Close() })
	s := &Server{
		Name: "sandbox", Mode: SSE, Bucket: sandbox.Bucket, Key: sandbox.KeyAlias, URL: sb.URL(), Sandbox: sb,
		KeyPart: sb.KMS.KeyARN(sandbox.KeyAlias),
		access:  sandbox.AccessKey, secret: sandbox.SecretKey, kmsURL: sb.KMSURL(), ca: sb.CAFile(),
	}
	s.connect(t)
	s.checkAtEnd(t)
	sb.S3.Expect(&s3sandbox.Expectation{Algorithm: "aws:kms", KeyID: s.KeyPart})
	t.Cleanup(func() {
		for _, line := range sb.S3.Violations() {
			t.Errorf("created without the required encryption: %s", line)
		}
	})
	return s
}

// checkAtEnd registers the checks that every test ends with.
func (s *Server) checkAtEnd(t testing.TB) {
	t.Cleanup(func() {
		out, err := s.S3.ListMultipartUploads(context.Background(), &s3.ListMultipartUploadsInput{Bucket: &s.Bucket})
		if err != nil {
			t.Errorf("list uploads at the end of the test: %v", err)
			return
		}
		for _, u := range out.Uploads {
			t.Errorf("upload left behind: %s", aws.ToString(u.Key))
		}
	})
}
