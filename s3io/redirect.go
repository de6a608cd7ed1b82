package s3io

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// redirectError is an answer that sends a request elsewhere. It is not
// followed: a redirected request carries session tokens and KMS headers along
// to whoever it names, and what comes back from there is not from S3.
type redirectError struct {
	status int
	to     string // host
	region string // of the bucket, where the answer names it
}

func (e *redirectError) Error() string {
	return fmt.Sprintf("server answered %d: ask %s instead, which is not followed", e.status, e.to)
}

// RetryableError tells the SDK that no retry heals it.
func (e *redirectError) RetryableError() bool { return false }

// unredirected makes a transport refuse to follow redirects. The SDK's client
// does follow 307 and 308, and stands in the way of a CheckRedirect: it is the
// only type that the default chain adds AWS_CA_BUNDLE to. The choice of a proxy
// is the one hook that sees each request, before anything is dialled or sent.
func unredirected(t *http.Transport) {
	proxy := t.Proxy
	t.Proxy = func(req *http.Request) (*url.URL, error) {
		if from := req.Response; from != nil {
			return nil, &redirectError{status: from.StatusCode, to: req.URL.Host, region: from.Header.Get("X-Amz-Bucket-Region")}
		}
		if proxy == nil {
			return nil, nil
		}
		return proxy(req)
	}
}

// redirected returns the redirect that err is of, nil if none.
func redirected(err error) *redirectError {
	var e *redirectError
	errors.As(err, &e)
	return e
}
