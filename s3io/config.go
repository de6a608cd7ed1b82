package s3io

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// discoveryRegion is asked where a bucket is when no region is configured: S3
// answers for buckets of every region.
const discoveryRegion = "us-east-1"

// openAttempts bounds the retries of what Open asks, so that a mistyped
// endpoint is told within seconds.
const openAttempts = 4

// Configuration is what the SDK's clients are made of under o: the default
// chain's credentials, region and endpoints, and a client that trusts
// o.CABundle and follows no redirect.
func Configuration(ctx context.Context, o Options) (aws.Config, error) { return loadConfig(ctx, o) }

// loadConfig asks the SDK's default chain, all of it, for credentials, region
// and endpoints, under what o says.
func loadConfig(ctx context.Context, o Options) (aws.Config, error) {
	client, err := httpClient(o)
	if err != nil {
		return aws.Config{}, err
	}
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		config.WithLogger(logging.Nop{}),
		config.WithEndpointCredentialOptions(func(o *endpointcreds.Options) { o.HTTPClient = client }),
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return aws.Config{}, &Error{Kind: Misconfigured, Op: "load AWS configuration", Err: err,
			Hint: "check --profile and the AWS_* variables"}
	}
	chain := &credentials{chain: cfg.Credentials, load: func(ctx context.Context) (aws.CredentialsProvider, error) {
		fresh, err := config.LoadDefaultConfig(ctx, load...)
		return fresh.Credentials, err
	}}
	cfg.Credentials = chain
	cfg.APIOptions = append(cfg.APIOptions, chain.addRenewal)
	return cfg, nil
}

// httpClient returns the SDK's client with o's roots and enough idle
// connections. HTTP/2 stays off: S3 does not speak it, and requests that share
// a connection would share its stalls.
func httpClient(o Options) (*awshttp.BuildableClient, error) {
	var roots *x509.CertPool
	if o.CABundle != "" {
		text, err := os.ReadFile(o.CABundle)
		if err != nil {
			return nil, &Error{Kind: Misconfigured, Op: "read CA bundle", Err: err, Hint: "check --ca-bundle"}
		}
		if roots, err = x509.SystemCertPool(); err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(text) {
			return nil, misuse(fmt.Sprintf("no certificate in %s", o.CABundle), "--ca-bundle takes a PEM file")
		}
	}
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns = o.MaxConnections
		t.MaxIdleConnsPerHost = o.MaxConnections
		t.MaxConnsPerHost = 0 // limited by transport, which knows what a request is for
		t.ForceAttemptHTTP2 = false
		t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		t.ReadBufferSize, t.WriteBufferSize = 64<<10, 64<<10
		unredirected(t)
		if roots != nil {
			t.TLSClientConfig.RootCAs = roots
		}
	}), nil
}

// client makes the S3 client for cfg.
func (b *Bucket) client(cfg aws.Config) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		if b.opts.Endpoint != "" { // here, so that it wins over AWS_ENDPOINT_URL_S3 and is not taken for KMS's
			o.BaseEndpoint = aws.String(b.opts.Endpoint)
		}
		o.UsePathStyle = b.opts.PathStyle
		o.UseARNRegion = true
		o.HTTPClient = newTransport(cfg.HTTPClient, b.opts.MaxConnections, b.lookup, b.commit, &b.counters)
		o.Retryer = newRetryer(0)
		o.RetryMaxAttempts = 0 // also not from AWS_MAX_ATTEMPTS: the deadline decides
		o.DisableLogOutputChecksumValidationSkipped = true
		o.APIOptions = append(o.APIOptions, awsmiddleware.AddUserAgentKey("kmsfs"), b.addHeaders, noteAttempts, b.addGuard)
	})
}

// newRetryer returns the SDK's retryer without its rate-limit quota, which one
// outage empties for all requests. attempts 0 leaves the end to the deadline.
func newRetryer(attempts int) aws.Retryer {
	if attempts == 0 {
		attempts = math.MaxInt32 // to the SDK, 0 means 3
	}
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.RateLimiter = ratelimit.None
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			return backoff(attempt - 1), nil
		})
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(hopeless)}, o.Retryables...)
	})
}

// hopeless refuses retries of what no retry heals, and allows those of 409,
// which S3 answers while two conditional requests meet.
func hopeless(err error) aws.Ternary {
	if untrusted(err) {
		return aws.FalseTernary
	}
	switch code(err) {
	case "OperationAborted", "ConditionalRequestConflict":
		return aws.TrueTernary
	}
	if passes(err) {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

// backoff is the wait before the n-th retry, counted from 0: 50 ms doubled up
// to 5 s, and between half and all of that by chance.
func backoff(n int) time.Duration {
	d := 5 * time.Second
	if n < 7 {
		d = 50 * time.Millisecond << max(n, 0)
	}
	return d/2 + rand.N(d/2)
}

// few is for Open's requests: it bounds the attempts.
func few(o *s3.Options) { o.Retryer = newRetryer(openAttempts) }

// once is for requests whose unknown outcomes settle resolves.
func once(o *s3.Options) { o.Retryer = aws.NopRetryer{} }

// addHeaders sets what every request of the mount carries.
func (b *Bucket) addHeaders(stack *middleware.Stack) error {
	return stack.Build.Add(middleware.BuildMiddlewareFunc("kmsfsHeaders", func(
		ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler,
	) (middleware.BuildOutput, middleware.Metadata, error) {
		if req, ok := in.Request.(*smithyhttp.Request); ok {
			if b.opts.RequestPayer {
				req.Header.Set("X-Amz-Request-Payer", "requester")
			}
			if owner := b.opts.ExpectedBucketOwner; owner != "" {
				req.Header.Set("X-Amz-Expected-Bucket-Owner", owner)
				if req.Header.Get("X-Amz-Copy-Source") != "" {
					req.Header.Set("X-Amz-Source-Expected-Bucket-Owner", owner)
				}
			}
		}
		return next.HandleBuild(ctx, in)
	}), middleware.After)
}

// noteAttempts tells the operation's deadline what each attempt came to.
func noteAttempts(stack *middleware.Stack) error {
	return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("kmsfsAttempts", func(
		ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler,
	) (middleware.FinalizeOutput, middleware.Metadata, error) {
		out, md, err := next.HandleFinalize(ctx, in)
		if err != nil {
			deadlineOf(ctx).failed(brief(err))
		}
		return out, md, err
	}), "Retry", middleware.After)
}

// checkEndpoint refuses plain http beyond loopback: S3 demands TLS for KMS
// objects, and credentials and content would be readable on the way.
func checkEndpoint(what, endpoint, flag string, insecure bool) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return misuse(fmt.Sprintf("%s endpoint %q is no URL", what, endpoint), flag+" takes https://HOST[:PORT]")
	}
	if u.User != nil { // it would be shown with every error
		return misuse(what+" endpoint has a user name or password in it",
			"leave them out: credentials come from the environment or --profile")
	}
	if u.Scheme == "https" || insecure || loopback(u.Hostname()) {
		return nil
	}
	return misuse(fmt.Sprintf("%s endpoint %s is plain http", what, endpoint),
		"use https://, or --insecure-http if the network is trusted")
}

// private reports whether requests to endpoint, which checkEndpoint accepted,
// go over TLS or stay on this machine.
func private(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && (u.Scheme != "http" || loopback(u.Hostname()))
}

func loopback(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// amazon reports whether endpoint is AWS itself: none configured, or one of
// its own names, as for dual-stack, FIPS and VPC endpoints.
func amazon(endpoint string) bool {
	if endpoint == "" {
		return true
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	for _, domain := range []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonaws.eu"} {
		if strings.HasSuffix(u.Hostname(), domain) {
			return true
		}
	}
	return false
}

// credentialsError is the whole chain's failure to find credentials.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "no usable AWS credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// Hint is the remedy.
func (e *credentialsError) Hint() string {
	return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, use --profile, or run `aws sso login` or `aws configure`"
}

// RetryableError tells the SDK that the chain has retried already.
func (e *credentialsError) RetryableError() bool { return false }
