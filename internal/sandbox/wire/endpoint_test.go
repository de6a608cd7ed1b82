package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"
)

var tester = Identity{AccessKey: "AKTEST", SecretKey: "secret", ARN: "arn:aws:iam::111122223333:user/tester"}

const answerBody = "0123456789abcdef"

// bench is an Endpoint in front of a service that echoes, behind plain HTTP or TLS.
type bench struct {
	*httptest.Server
	log     Log
	faults  Faults
	taps    Taps
	applied atomic.Int64 // requests that the service took with a body in order
	ended   chan bool    // of each request that is no longer served
}

func newBench(t *testing.T, secure bool) *bench {
	b := &bench{ended: make(chan bool, 1000)}
	e := &Endpoint{
		Verifier: &Verifier{Service: "s3", Identities: func(key string) (Identity, bool) { return tester, key == tester.AccessKey }},
		Classify: func(r *http.Request) Call {
			return Call{Op: "Op" + r.Method, Bucket: "b", Key: strings.TrimPrefix(r.URL.Path, "/")}
		},
		Render: WriteXML,
		Log:    &b.log,
		Faults: &b.faults,
		Taps:   &b.taps,
		Service: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var e *Error
			if _, err := io.ReadAll(r.Body); errors.As(err, &e) {
				WriteXML(w, r, e)
				return
			}
			b.applied.Add(1)
			w.Header().Set("X-Echo", Caller(r.Context()).ARN)
			w.Header().Set("Content-Length", "16")
			_, _ = io.WriteString(w, answerBody)
		}),
	}
	b.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { b.ended <- true }()
		e.ServeHTTP(w, r)
	}))
	if secure {
		b.StartTLS()
	} else {
		b.Start()
	}
	t.Cleanup(b.Close)
	t.Cleanup(b.faults.Clear) // before Close, which waits for what hangs
	return b
}

// do sends a request that is signed by the SDK, and reads the answer.
func (b *bench) do(ctx context.Context, t *testing.T, method, path, body string, edit func(*http.Request)) (*http.Response, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, b.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	r.Header.Set("X-Amz-Meta-Spaces", "  a   b ")
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(ctx, aws.Credentials{AccessKeyID: tester.AccessKey, SecretAccessKey: tester.SecretKey}, r, hash, "s3", "eu-west-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(r)
	}
	resp, err := b.Client().Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestSignedBySDK(t *testing.T) {
	b := newBench(t, true)
	ctx := testContext(t)
	for _, path := range []string{"/", "/a/b", "/a//b", "/%C3%BC%20%2B%24%26%3D%3B%3A%40%2C~_-.x", "/k?a=1&a=0&b=&c&a-b=2&d=%20%2B", "/k?list-type=2&prefix=a%2Fb"} {
		resp, text, err := b.do(ctx, t, "PUT", path, "body", nil)
		if err != nil || resp.StatusCode != 200 || resp.Header.Get("X-Echo") != tester.ARN {
			t.Errorf("%s: %v %v %s", path, resp, err, text)
		}
	}
	last := b.log.Requests()[5]
	if last.Op != "OpPUT" || last.Status != 200 || last.Caller != tester.ARN || last.Query.Get("prefix") != "a/b" || b.log.Count("OpPUT") != 6 {
		t.Errorf("log: %+v", last)
	}
}

func TestPresigned(t *testing.T) {
	b := newBench(t, false)
	ctx := testContext(t)
	presign := func(date time.Time, expires string, header string) string {
		r, _ := http.NewRequestWithContext(ctx, "GET", b.URL+"/a%20b?X-Amz-Expires="+expires, nil)
		if header != "" {
			r.Header.Set(header, "aws:kms")
		}
		url, _, err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true; o.DisableHeaderHoisting = true }).PresignHTTP(ctx,
			aws.Credentials{AccessKeyID: tester.AccessKey, SecretAccessKey: tester.SecretKey}, r, unsignedPayload, "s3", "us-east-1", date)
		if err != nil {
			t.Fatal(err)
		}
		return url
	}
	now, sse := time.Now(), "X-Amz-Server-Side-Encryption"
	for _, c := range []struct {
		name, url, header string
		status            int
		code              string
	}{
		{"good", presign(now, "60", ""), "", 200, ""},
		{"signed header", presign(now, "60", sse), sse, 200, ""},
		{"signed header left out", presign(now, "60", sse), "", 403, "SignatureDoesNotMatch"},
		{"header not signed", presign(now, "60", ""), sse, 403, "AccessDenied"},
		{"expired", presign(now.Add(-time.Hour), "60", ""), "", 403, "AccessDenied"},
		{"future", presign(now.Add(time.Hour), "60", ""), "", 403, "AccessDenied"},
		{"too long", presign(now, "604801", ""), "", 400, "AuthorizationQueryParametersError"},
		{"changed", strings.Replace(presign(now, "60", ""), "a%20b", "a%20c", 1), "", 403, "SignatureDoesNotMatch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := http.NewRequestWithContext(ctx, "GET", c.url, nil)
			if c.header != "" {
				r.Header.Set(c.header, "aws:kms")
			}
			resp, err := b.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || !strings.Contains(string(text), c.code) {
				t.Errorf("%d %s", resp.StatusCode, text)
			}
		})
	}
}

func TestRefusedSignatures(t *testing.T) {
	b := newBench(t, false)
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	replace := func(old, new string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, new, 1))
		}
	}
	for _, c := range []struct {
		name   string
		edit   func(*http.Request)
		status int
		code   string
	}{
		{"anonymous", func(r *http.Request) { r.Header.Del("Authorization") }, 403, "AccessDenied"},
		{"unknown key", replace("AKTEST", "AKOTHER"), 403, "InvalidAccessKeyId"},
		{"other service", replace("/s3/", "/kms/"), 400, "AuthorizationHeaderMalformed"},
		{"other region", replace("eu-west-1", "eu-west-2"), 403, "SignatureDoesNotMatch"},
		{"header changed", set("X-Amz-Meta-Spaces", "x"), 403, "SignatureDoesNotMatch"},
		{"header added", set("X-Amz-Server-Side-Encryption", "AES256"), 403, "AccessDenied"},
		{"old", set("X-Amz-Date", time.Now().Add(-time.Hour).UTC().Format(timeFormat)), 403, "RequestTimeTooSkewed"},
		{"no date", func(r *http.Request) { r.Header.Del("X-Amz-Date") }, 400, "AuthorizationHeaderMalformed"},
		{"v2", set("Authorization", "AWS AKTEST:xxxx"), 400, "AuthorizationHeaderMalformed"},
		{"no payload hash", func(r *http.Request) { r.Header.Del("X-Amz-Content-Sha256") }, 400, "MissingSecurityHeader"},
		{"body changed", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("BODY")) }, 400, "XAmzContentSHA256Mismatch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := b.applied.Load()
			resp, text, err := b.do(testContext(t), t, "PUT", "/k", "body", c.edit)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status || !strings.Contains(text, "<Code>"+c.code+"</Code>") || b.applied.Load() != before {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, text, c.status, c.code)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "tls": true} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				name    string
				fault   Fault
				applied int64
				status  int // 0: no answer
				body    string
				reset   bool
			}{
				{"answer", Fault{Kind: Answer, Status: 503, Code: "SlowDown"}, 0, 503, "<Code>SlowDown</Code>", false},
				{"answer after", Fault{Kind: AnswerAfter}, 1, 500, "<Code>InternalError</Code>", false},
				{"error in a success", Fault{Kind: AnswerAfter, Status: 200}, 1, 200, "<Code>InternalError</Code>", false},
				{"reset before", Fault{Kind: ResetBefore}, 0, 0, "", true},
				{"reset after", Fault{Kind: ResetAfter}, 1, 0, "", true},
				{"reset in the body", Fault{Kind: ResetBody, Cut: 4}, 1, 200, "0123", true},
				{"cut body", Fault{Kind: CutBody, Cut: 10}, 1, 200, "0123456789", false},
				{"flipped", Fault{Kind: FlipByte, Cut: 1}, 1, 200, "0\xce23456789abcdef", false},
				{"short", Fault{Kind: ShortBody, Cut: 5}, 1, 200, "01234", false},
				{"header", Fault{Kind: EditHeader, Edit: func(h http.Header) { h.Del("X-Echo") }}, 1, 200, answerBody, false},
				{"slow", Fault{Kind: Slow, Delay: time.Millisecond}, 1, 200, answerBody, false},
			} {
				t.Run(c.name, func(t *testing.T) {
					b := newBench(t, secure)
					c.fault.Op, c.fault.Key, c.fault.Skip, c.fault.Times = "OpPUT", "k", 1, 1
					rule := b.faults.Add(c.fault)
					for i, path := range []string{"/other", "/k", "/k", "/k"} {
						resp, text, err := b.do(testContext(t), t, "PUT", path, strings.Repeat("x", 100_000), nil)
						if i != 2 {
							if err != nil || text != answerBody || resp.Header.Get("X-Echo") == "" {
								t.Fatalf("request %d: %v %q %v", i, resp, text, err)
							}
							continue
						}
						if status := 0; resp != nil && resp.StatusCode != c.status || resp == nil && c.status != status {
							t.Errorf("answer %v, %v", resp, err)
						}
						if !strings.Contains(text, c.body) || strings.HasPrefix(answerBody, c.body) && text != c.body {
							t.Errorf("body %q", text)
						}
						if got := errors.Is(err, syscall.ECONNRESET); got != c.reset {
							t.Errorf("error %v, want a reset: %v", err, c.reset)
						}
						if c.fault.Kind == CutBody && !errors.Is(err, io.ErrUnexpectedEOF) {
							t.Errorf("error %v, want an unexpected end", err)
						}
						if c.fault.Kind == EditHeader && resp.Header.Get("X-Echo") != "" {
							t.Error("header was not edited")
						}
					}
					faulty := b.log.Requests()[2]
					if caller := map[bool]string{true: tester.ARN}[c.applied == 1]; faulty.Caller != caller {
						t.Errorf("logged caller %q of a request that was applied %d times", faulty.Caller, c.applied)
					}
					if rule.Hits() != 1 || b.applied.Load() != 3+c.applied {
						t.Errorf("%d hits, %d applied", rule.Hits(), b.applied.Load())
					}
				})
			}
		})
	}
}

func TestFaultsCall(t *testing.T) {
	for _, c := range []struct {
		kind    FaultKind
		applied bool
		code    string
	}{
		{Answer, false, "ThrottlingException"}, {AnswerAfter, true, "ThrottlingException"},
		{ResetBefore, false, "InternalFailure"}, {ResetAfter, true, "InternalFailure"}, {EditHeader, true, ""}, {Slow, true, ""},
	} {
		var f Faults
		f.Add(Fault{Op: "Decrypt", Kind: c.kind, Status: 400, Code: "ThrottlingException"})
		applied := false
		err := f.Call(context.Background(), "Decrypt", "k", func() *Error { applied = true; return nil })
		if applied != c.applied || (err == nil) != (c.code == "") || err != nil && err.Code != c.code {
			t.Errorf("kind %d: applied %v, %v", c.kind, applied, err)
		}
	}
	var f Faults
	f.Add(Fault{Kind: Hang})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.Call(ctx, "Decrypt", "", func() *Error { t.Error("applied"); return nil }); err == nil {
		t.Error("a call whose caller had gone succeeded")
	}
}

func TestDenials(t *testing.T) {
	var none *Denials
	if none.Denied("kms:Decrypt", "r", "p") {
		t.Error("nil denies")
	}
	var d Denials
	undo := d.Deny("kms:Decrypt", "arn:key/1")
	d.Add(Denial{Action: "s3:*", Resource: "arn:b/x*", Principal: "arn:user/a"})
	got := []bool{
		d.Denied("kms:Decrypt", "arn:key/1", "anyone"), d.Denied("kms:Decrypt", "arn:key/2", "anyone"),
		d.Denied("s3:PutObject", "arn:b/xyz", "arn:user/a"), d.Denied("s3:PutObject", "arn:b/yz", "arn:user/a"), d.Denied("s3:PutObject", "arn:b/xyz", "arn:user/b"),
	}
	if diff := cmp.Diff([]bool{true, false, true, false, false}, got); diff != "" {
		t.Error(diff)
	}
	undo()
	if d.Denied("kms:Decrypt", "arn:key/1", "anyone") {
		t.Error("undone, and denied")
	}
}

func TestLogIsBounded(t *testing.T) {
	var l Log
	for range 3 * logLimit {
		l.Begin(Request{Op: "x"})
	}
	if n := len(l.Requests()); n > 2*logLimit || n < logLimit || l.Count("x") != 3*logLimit {
		t.Errorf("%d kept, %d counted", n, l.Count("x"))
	}
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AK/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range,Signature=" + strings.Repeat("a1", 32))
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/20130524/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=" + emptyHash)
	f.Add("AWS4-HMAC-SHA256 Credential=,Signature=,SignedHeaders=")
	f.Fuzz(func(t *testing.T, header string) {
		a, err := parseAuthorization(header)
		if err != nil {
			return
		}
		b, err := parseAuthorization(a.String())
		if diff := cmp.Diff(a, b, cmp.AllowUnexported(authorization{})); err != nil || diff != "" {
			t.Errorf("%q parses otherwise when written again: %v %s", header, err, diff)
		}
	})
}

func FuzzChunkedBody(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n\r\n"))
	f.Add([]byte("0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := &http.Request{Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(raw))}
		r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32c")
		r.Header.Set("X-Amz-Decoded-Content-Length", "5")
		if err := plainBody(r, streamingUnsigned, signer{}, ""); err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		var e *Error
		if err == nil && len(body) != 5 || err != nil && !errors.As(err, &e) {
			t.Errorf("%d bytes, %v", len(body), err)
		}
	})
}
