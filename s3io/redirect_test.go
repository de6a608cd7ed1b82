package s3io

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// diversion stands before a server and, while status is set, sends every
// request to the thief, who must never see one.
type diversion struct {
	*httptest.Server
	status atomic.Int32
	region atomic.Value // string: named in the answers
}

// thief fails the test with each request that it gets.
func thief(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the thief got %s %s with %v", r.Method, r.URL, r.Header)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func divert(t *testing.T, to, ca, thief string) *diversion {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if pem, err := os.ReadFile(ca); err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatal("no authority:", err)
	}
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host
		},
	}
	d := &diversion{}
	d.region.Store("")
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := int(d.status.Load())
		if status == 0 {
			proxy.ServeHTTP(w, r)
			return
		}
		if region := d.region.Load().(string); region != "" {
			w.Header().Set("X-Amz-Bucket-Region", region)
		}
		w.Header().Set("Location", thief+r.URL.Path)
		w.WriteHeader(status)
	}))
	t.Cleanup(d.Close)
	return d
}

var redirects = []int{301, 302, 303, 307, 308}

// TestRedirectsAreNotFollowed: whatever S3 answers, no request goes to another
// host than the configured one, and the error names the remedy.
func TestRedirectsAreNotFollowed(t *testing.T) {
	s := newStage(t)
	t.Setenv("AWS_CA_BUNDLE", s.box.CAFile()) // has the SDK make a client of its own
	d := divert(t, s.box.URL(), s.box.CAFile(), thief(t))
	b := s.mount(func(o *Options) { o.Endpoint = d.URL })
	here := s.mustPut(b, "here", "text")
	u, _ := s.upload(b, "up", "text", Attrs{})
	t.Cleanup(func() {
		if err := b.abortUpload(s.ctx, u); err != nil {
			t.Error(err)
		}
	})
	steps := map[string]func() error{
		"head": func() error { _, err := b.Head(s.ctx, "here"); return err },
		"get":  func() error { _, err := b.Get(s.ctx, here, 0, -1); return err },
		"list": func() error { _, err := b.List(s.ctx, ListQuery{}); return err },
		"put":  func() error { _, err := s.put(b, "new", "text", Condition{}); return err },
		"copy": func() error {
			_, err := b.Copy(s.ctx, here, "copy", Attrs{}, Condition{})
			return err
		},
		"delete": func() error { return b.Delete(s.ctx, here) },
		"create upload": func() error {
			_, err := b.createUpload(s.ctx, "other", Attrs{})
			return err
		},
		"upload part": func() error {
			_, err := b.uploadPart(s.ctx, u, 1, strings.NewReader("text"), 4)
			return err
		},
		"tags": func() error { _, err := b.tagsOf(s.ctx, here); return err },
	}
	for _, status := range redirects {
		d.status.Store(int32(status))
		for name, step := range steps {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				err := step()
				wantKind(t, err, Misconfigured)
				wantText(t, err, "--region")
			})
		}
	}
	d.status.Store(0)
	if got := s.text(b, "here"); got != "text" {
		t.Errorf("afterwards the object has %q", got)
	}
}

// TestRedirectsAtOpen: also the first questions are not asked elsewhere, and
// the region that the answer names is.
func TestRedirectsAtOpen(t *testing.T) {
	s := newStage(t)
	t.Setenv("AWS_SESSION_TOKEN", "a-token")
	d := divert(t, s.box.URL(), s.box.CAFile(), thief(t))
	for _, status := range redirects {
		for region, remedy := range map[string]string{"": "check --region", "eu-west-1": "--region eu-west-1"} {
			d.status.Store(int32(status))
			d.region.Store(region)
			o := s.options()
			o.Endpoint = d.URL
			b, err := Open(s.ctx, o)
			if err == nil {
				b.cancel()
			}
			wantKind(t, err, Misconfigured)
			wantText(t, err, remedy)
		}
	}
}

// TestRedirectsOfKMS: data keys and wrapped ones stay with the configured host.
func TestRedirectsOfKMS(t *testing.T) {
	s := newStage(t)
	d := divert(t, s.box.KMSURL(), s.box.CAFile(), thief(t))
	o := s.options()
	o.KMSEndpoint = d.URL
	b := newBucket(o, Policy{})
	defer b.cancel()
	cfg, err := loadConfig(s.ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	client, err := b.kmsClients(cfg, 2)
	if err != nil {
		t.Fatal(err)
	}
	arn := s.box.KMS.KeyARN(sandbox.KeyAlias)
	key, err := crypto.ResolveKey(s.ctx, client(sandbox.Region), arn, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range redirects {
		d.status.Store(int32(status))
		if _, err := crypto.ResolveKey(s.ctx, client(sandbox.Region), arn, ""); err == nil {
			t.Errorf("%d: DescribeKey succeeded", status)
		}
		ring, err := crypto.NewKeyring(client, crypto.KeyringOptions{Keys: []crypto.Key{key}, Bucket: "arn:aws:s3:::demo"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = ring.Seal(s.ctx, "a")
		wantText(t, err, fmt.Sprint(status))
		ring.Close()
	}
}

// TestRedirectsOfCredentials: neither is whoever hands out credentials left.
// The token is a header of a GET, which the SDK's own client would send on.
func TestRedirectsOfCredentials(t *testing.T) {
	d := divert(t, "http://127.0.0.1:1", certificate(t), thief(t))
	environment(t, map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": d.URL, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "a-token"})
	for _, status := range redirects {
		d.status.Store(int32(status))
		cfg, err := loadConfig(t.Context(), Options{Region: "us-east-1"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cfg.Credentials.Retrieve(t.Context()); err == nil {
			t.Errorf("%d: credentials were found", status)
		}
	}
}

// certificate writes the authority of a server that nobody asks.
func certificate(t *testing.T) string {
	t.Helper()
	box, err := sandbox.Start(sandbox.Options{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	return box.CAFile()
}

// TestNamesOfBucketsNameNoHosts: nothing in the name of a bucket moves a
// request away from the endpoint.
func TestNamesOfBucketsNameNoHosts(t *testing.T) {
	names := []string{
		"evil.example", "evil.example/", "a@evil.example", "a:b@evil.example", "evil.example#", "evil.example?x=", "..", "../x",
		"a%2f", "a\\b", "evil.example:443", "-", "a\r\nHost: evil.example", "arn:aws:s3:evil.example#:1:accesspoint/x",
		"arn:aws:s3:us-east-1:@evil.example:accesspoint/x", "arn:aws:s3:us-east-1:123456789012:accesspoint/evil.example#",
		"arn:aws:s3::123456789012:accesspoint/evil.example",
	}
	for _, style := range []bool{false, true} {
		for _, name := range names {
			var asked []string
			client := s3.New(s3.Options{
				Region: "us-east-1", UsePathStyle: style, UseARNRegion: true, Retryer: aws.NopRetryer{},
				Credentials: aws.AnonymousCredentials{}, HTTPClient: hosts{&asked},
			})
			_, _ = client.HeadBucket(context.Background(), &s3.HeadBucketInput{Bucket: &name})
			for _, host := range asked {
				if !strings.HasSuffix(host, ".amazonaws.com") {
					t.Errorf("bucket %q is asked of %q", name, host)
				}
			}
			o := Options{Bucket: name, PathStyle: style}
			if _, _, err := validate(o); err == nil && strings.ContainsAny(name, "@#?%\\\r\n ") {
				t.Errorf("bucket %q is accepted", name)
			}
		}
	}
}

// hosts notes whom it is asked to send requests to, and sends none.
type hosts struct{ asked *[]string }

func (h hosts) Do(r *http.Request) (*http.Response, error) {
	*h.asked = append(*h.asked, r.URL.Host)
	return nil, context.Canceled
}
