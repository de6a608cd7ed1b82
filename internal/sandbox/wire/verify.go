package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSkew is how far a request's date may be from the clock, and maxExpiry how long a presigned URL may be valid.
const (
	maxSkew   = 15 * time.Minute
	maxExpiry = 7 * 24 * time.Hour
)

// A Verifier checks SigV4 signatures for one service.
type Verifier struct {
	Service    string // of the credential scope: s3 or kms
	Identities func(accessKey string) (Identity, bool)
	Now        func() time.Time // nil: time.Now
}

// Verify checks the signature of r and returns who signed it. On success r is made plain: its Body checks the payload
// while it is read, aws-chunked framing is gone from body and headers, ContentLength is that of the content, and
// trailers appear in r.Trailer when Body has been read to its end.
func (v *Verifier) Verify(r *http.Request) (Principal, *Error) {
	q := r.URL.Query()
	if header := r.Header.Get("Authorization"); header != "" {
		if q.Has("X-Amz-Signature") {
			return Principal{}, Errorf(400, "InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified")
		}
		a, err := parseAuthorization(header)
		if err != nil {
			return Principal{}, v.malformed("The authorization header is malformed; " + err.Error())
		}
		date := r.Header.Get("X-Amz-Date")
		if date == "" {
			date = r.Header.Get("Date")
		}
		return v.verify(r, a, date, r.Header.Get("X-Amz-Content-Sha256"))
	}
	if !q.Has("X-Amz-Signature") {
		return Principal{}, v.anonymous()
	}
	a, err := newAuthorization(q.Get("X-Amz-Credential"), q.Get("X-Amz-SignedHeaders"), q.Get("X-Amz-Signature"))
	if err == nil && q.Get("X-Amz-Algorithm") != algorithm {
		err = fmt.Errorf("X-Amz-Algorithm only supports %q", algorithm)
	}
	if err != nil {
		return Principal{}, Errorf(400, "AuthorizationQueryParametersError", "%v", err)
	}
	if e := v.expiry(q.Get("X-Amz-Date"), q.Get("X-Amz-Expires")); e != nil {
		return Principal{}, e
	}
	payload := r.Header.Get("X-Amz-Content-Sha256")
	if payload == "" {
		payload = unsignedPayload
	}
	return v.verify(r, a, q.Get("X-Amz-Date"), payload)
}

func (v *Verifier) verify(r *http.Request, a authorization, date, payload string) (Principal, *Error) {
	id, ok := v.Identities(a.accessKey)
	if !ok {
		return Principal{}, v.unknownKey()
	}
	when, err := time.Parse(timeFormat, date)
	if err != nil || !strings.HasPrefix(date, a.date) {
		return Principal{}, v.malformed("The date is missing, malformed, or not that of the credential scope")
	}
	if a.service != v.Service {
		return Principal{}, v.malformed(fmt.Sprintf("The authorization header is malformed; incorrect service %q. This endpoint belongs to %q.", a.service, v.Service))
	}
	presigned := r.Header.Get("Authorization") == ""
	if skew := v.now().Sub(when).Abs(); !presigned && skew > maxSkew {
		return Principal{}, v.skewed()
	}
	if v.Service != "s3" {
		if payload, err = hashBody(r); err != nil {
			return Principal{}, Errorf(400, "SerializationException", "read the request: %v", err)
		}
	} else if payload == "" {
		return Principal{}, Errorf(400, "MissingSecurityHeader", "Your request was missing a required header: x-amz-content-sha256")
	}
	if e := v.unsigned(r, a); e != nil {
		return Principal{}, e
	}
	text, err := canonicalRequest(r, a, payload)
	if err != nil {
		return Principal{}, Errorf(400, "InvalidURI", "Couldn't parse the specified URI.")
	}
	sign := newSigner(id.SecretKey, date, a)
	if want := sign.sign(algorithm, hexSHA256([]byte(text))); !hmac.Equal([]byte(want), []byte(a.signature)) {
		return Principal{}, v.mismatch()
	}
	if e := plainBody(r, payload, sign, a.signature); e != nil {
		return Principal{}, e
	}
	return Principal{Identity: id, Region: a.region}, nil
}

// expiry checks the validity of a presigned URL.
func (v *Verifier) expiry(date, expires string) *Error {
	seconds, err := strconv.Atoi(expires)
	if valid := time.Duration(seconds) * time.Second; err != nil || valid <= 0 || valid > maxExpiry {
		return Errorf(400, "AuthorizationQueryParametersError", "X-Amz-Expires must be between 1 and 604800 seconds")
	}
	when, err := time.Parse(timeFormat, date)
	if err != nil {
		return Errorf(400, "AuthorizationQueryParametersError", "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
	}
	switch now := v.now(); {
	case when.After(now.Add(maxSkew)):
		return Errorf(403, "AccessDenied", "Request is not valid yet")
	case now.After(when.Add(time.Duration(seconds) * time.Second)):
		return Errorf(403, "AccessDenied", "Request has expired")
	}
	return nil
}

// unsigned refuses headers that matter and that the signature does not cover.
func (v *Verifier) unsigned(r *http.Request, a authorization) *Error {
	if !slices.Contains(a.signedHeaders, "host") {
		return notSigned("host")
	}
	if v.Service != "s3" {
		return nil
	}
	for name := range r.Header {
		// The payload's hash is in the canonical request anyway.
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-amz-") && lower != "x-amz-content-sha256" && !slices.Contains(a.signedHeaders, lower) {
			return notSigned(lower)
		}
	}
	return nil
}

// canonicalRequest builds the text that the client signed.
func canonicalRequest(r *http.Request, a authorization, payload string) (string, error) {
	var headers strings.Builder
	for _, name := range a.signedHeaders {
		values := r.Header.Values(name)
		switch {
		case name == "host":
			values = []string{r.Host}
		case name == "content-length" && len(values) == 0:
			values = []string{strconv.FormatInt(r.ContentLength, 10)}
		}
		folded := make([]string, len(values))
		for i, value := range values {
			folded[i] = strings.Join(strings.Fields(value), " ")
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.Join(folded, ","))
	}
	query, err := canonicalQuery(r.URL.RawQuery)
	path := escape(r.URL.Path, true)
	if path == "" {
		path = "/"
	}
	return strings.Join([]string{r.Method, path, query, headers.String(), strings.Join(a.signedHeaders, ";"), payload}, "\n"), err
}

func (v *Verifier) now() time.Time {
	if v.Now != nil {
		return v.Now()
	}
	return time.Now()
}

// maxBody bounds what a service other than S3 takes.
const maxBody = 1 << 20

// hashBody reads the body of a small request, and leaves it to be read again.
func hashBody(r *http.Request) (string, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return "", err
	}
	if len(body) > maxBody {
		return "", errors.New("larger than 1 MiB")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return hexSHA256(body), nil
}

// hashedBody fails at its end if the content is not what the client signed.
type hashedBody struct {
	io.ReadCloser
	hash hash.Hash
	want string
}

func newHashedBody(body io.ReadCloser, want string) *hashedBody {
	return &hashedBody{body, sha256.New(), want}
}

func (b *hashedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.hash.Write(p[:n])
	if err == io.EOF && hex.EncodeToString(b.hash.Sum(nil)) != b.want {
		return n, Errorf(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	return n, err
}
