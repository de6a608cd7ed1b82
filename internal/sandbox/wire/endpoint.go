package wire

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"time"
)

// A Call is what an Endpoint must know of a request before the service sees it.
type Call struct {
	Op     string // AWS operation
	Bucket string
	Key    string
	// Context is the encryption context of a KMS call.
	Context map[string]string
}

// An Endpoint is the HTTP front of one service. All fields but Log, Faults and Taps must be set.
type Endpoint struct {
	Verifier *Verifier // without Identities it verifies nothing: the endpoint is a proxy, and who is behind it verifies
	// Classify names the operation. It may read the body if it puts another in its place, and must not trust anything:
	// the signature is not verified yet.
	Classify func(*http.Request) Call
	Render   Render
	Service  http.Handler // finds the principal by Caller
	Log      *Log
	Faults   *Faults
	Taps     *Taps
}

// ServeHTTP logs the request, applies at most one fault, and has it served once its signature is verified.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if e.Verifier.Service == "s3" {
		w.Header().Set("X-Amz-Request-Id", strings.ToUpper(randomHex(8)))
		w.Header().Set("X-Amz-Id-2", randomHex(32))
	} else {
		id := []string{randomHex(4), randomHex(2), randomHex(2), randomHex(2), randomHex(6)}
		w.Header().Set("X-Amzn-Requestid", strings.Join(id, "-"))
	}
	if e.Verifier.Now != nil { // clients learn from it how much their clock differs
		w.Header().Set("Date", e.Verifier.Now().UTC().Format(http.TimeFormat))
	}
	call := e.Classify(r)
	a := newAnswer(w)
	a.finish = e.Log.Begin(Request{
		Time: time.Now(), Service: e.Verifier.Service, Op: call.Op, Bucket: call.Bucket, Key: call.Key,
		Method: r.Method, Header: r.Header.Clone(), Query: r.URL.Query(), Context: call.Context,
	})
	e.Taps.attach(call, r)
	if rule := e.Faults.take(e.Verifier.Service, call.Op, call.Key); rule != nil {
		e.fail(rule, a, r)
	} else {
		e.serve(a, r)
	}
}

// serve verifies the signature and calls the service.
func (e *Endpoint) serve(a *answer, r *http.Request) {
	if e.Verifier.Identities == nil {
		e.Service.ServeHTTP(a, r)
		a.end()
		return
	}
	p, err := e.Verifier.Verify(r)
	if err != nil {
		drain(r)
		e.Render(a, r, err)
		return
	}
	a.caller = p.ARN
	e.Service.ServeHTTP(a, r.WithContext(WithCaller(r.Context(), p)))
	a.end()
}

// fail serves a request that goes wrong by the rule.
func (e *Endpoint) fail(rule *Rule, a *answer, r *http.Request) {
	defer rule.hit()
	f := rule.fault
	switch f.Kind {
	case Answer:
		drain(r)
		e.Render(a, r, rule.err())
	case AnswerAfter:
		e.apply(a, r)
		e.Render(a, r, rule.err())
	case ResetBefore:
		drain(r)
		a.tear(true)
	case ResetRequest:
		_, _ = io.CopyN(io.Discard, r.Body, f.Cut)
		a.tear(true)
	case ResetAfter:
		e.apply(a, r)
		a.tear(true)
	case HangAfter:
		keepBody(r)
		e.apply(a, r)
		rule.hit()
		_ = rule.wait(r.Context()) // the end is the same if the client goes
		a.tear(true)
	case ResetBody, CutBody:
		a.cut, a.reset = f.Cut, f.Kind == ResetBody
		e.serve(a, r)
		if !a.torn { // the body was no longer than Cut, and yet nothing may follow
			a.tear(a.reset)
		}
	case Slow, Hang:
		keepBody(r)
		rule.hit()
		if rule.wait(r.Context()) != nil {
			panic(http.ErrAbortHandler) // the client or the sandbox has gone
		}
		e.serve(a, r)
	default:
		e.distort(f, a, r)
	}
}

// distort serves a request that arrives changed, or whose answer does.
func (e *Endpoint) distort(f Fault, a *answer, r *http.Request) {
	switch f.Kind {
	case FlipRequest:
		r.Body = readCloser{&flipper{in: r.Body, at: f.Cut}, r.Body}
	case FlipByte:
		a.flip = f.Cut
	case ShortBody:
		a.short = f.Cut
	case EditHeader:
		a.edit = f.Edit
	}
	e.serve(a, r)
}

// flipper inverts the byte at offset at.
type flipper struct {
	in io.Reader
	at int64 // counts down; negative after the byte
}

func (f *flipper) Read(p []byte) (int, error) {
	n, err := f.in.Read(p)
	if f.at >= 0 && f.at < int64(n) {
		p[f.at] = ^p[f.at]
	}
	f.at -= int64(n)
	return n, err
}

// apply serves the request and keeps the answer from the client.
func (e *Endpoint) apply(a *answer, r *http.Request) {
	unseen := newAnswer(nowhere{http.Header{}})
	unseen.finish = a.finish
	e.serve(unseen, r)
	a.caller = unseen.caller
}

// maxDrain bounds what is read of a request that is refused without being looked at.
const maxDrain = 64 << 20

// drain reads the rest of the body: a client that is still sending would see the answer or the reset only by chance.
func drain(r *http.Request) { _, _ = io.CopyN(io.Discard, r.Body, maxDrain) }

// keepBody reads the body ahead of its use: only when it was read to its end does the server notice that the client
// has gone. A body over maxDrain is kept in part, and the rest read when it is needed.
func keepBody(r *http.Request) {
	var kept bytes.Buffer
	_, err := io.CopyN(&kept, r.Body, maxDrain)
	rest := io.Reader(r.Body)
	if err != nil && err != io.EOF {
		rest = failing{err}
	}
	r.Body = readCloser{io.MultiReader(&kept, rest), r.Body}
}

type readCloser struct {
	io.Reader
	io.Closer
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// randomHex returns n random bytes in hexadecimal digits.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand documents it
	return hex.EncodeToString(b)
}
