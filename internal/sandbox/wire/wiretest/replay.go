package wiretest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// A Target is where requests are sent, and as whom.
type Target struct {
	URL     string
	Client  *http.Client
	Service string
	Region  string
	As      wire.Identity
}

// An Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Send signs the request, sends it and reads the answer.
func (tr Transcript) Send(ctx context.Context, t testing.TB, to Target) Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, tr.Method, to.URL+tr.Target, strings.NewReader(tr.Body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range tr.Header {
		if name != "Host" && name != "Content-Length" {
			req.Header[name] = values
		}
	}
	if host := tr.Header.Get("Host"); host != "" {
		req.Host = host
	}
	Sign(ctx, t, req, tr.Body, to)
	resp, err := to.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{resp.StatusCode, resp.Header, string(body)}
}

// Sign signs req, whose body is given, with the SDK's signer: an implementation that is not the sandbox's own.
func Sign(ctx context.Context, t testing.TB, req *http.Request, body string, to Target) {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	if to.Service == "s3" {
		req.Header.Set("X-Amz-Content-Sha256", hash)
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = to.Service == "s3" })
	creds := aws.Credentials{AccessKeyID: to.As.AccessKey, SecretAccessKey: to.As.SecretKey}
	if err := signer.SignHTTP(ctx, creds, req, hash, to.Service, to.Region, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// Check reports every way in which the answer's structure differs from the documented one.
func (tr Transcript) Check(t testing.TB, got Answer) {
	t.Helper()
	if got.Status != tr.Status {
		t.Errorf("%s: status %d, documented %d: %s", tr.Name, got.Status, tr.Status, got.Body)
		return
	}
	for name, values := range tr.AnswerHeader {
		for _, d := range diffString(values[0], got.Header.Get(name)) {
			t.Errorf("%s: header %s: %s", tr.Name, name, d)
		}
	}
	for _, d := range Diff(tr.Answer, got.Body) {
		t.Errorf("%s: %s", tr.Name, d)
	}
}
