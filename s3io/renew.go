package s3io

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

// passes reports whether an error that the SDK gives up at may be over with the
// next attempt: an answer that was cut off, also where its length says nothing
// of it, and a name that is not known for a while, as when a network is down.
func passes(err error) bool {
	var none *credentialsError
	if errors.As(err, &none) {
		return false // the chain tries again itself, and so does addRenewal
	}
	var name *net.DNSError
	var short *xml.SyntaxError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &name) ||
		errors.As(err, &short) && status(err) == http.StatusOK
}

// credentials are those of the default chain. Its errors have a type, and it is
// asked anew, from its files on, when a server says that what it gave is over.
type credentials struct {
	load func(context.Context) (aws.CredentialsProvider, error)

	mu    sync.Mutex              // guards the fields below
	chain aws.CredentialsProvider // nil: none configured
	had   bool                    // it gave some once

	loading sync.Mutex // held over load
}

// Retrieve gives what the chain says now.
func (c *credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c.mu.Lock()
	chain := c.chain
	c.mu.Unlock()
	if chain == nil {
		return aws.Credentials{}, &credentialsError{errors.New("no credentials configured")}
	}
	v, err := chain.Retrieve(ctx)
	if err != nil && !ended(err) {
		return v, &credentialsError{err}
	}
	if err == nil {
		c.mu.Lock()
		c.had = true
		c.mu.Unlock()
	}
	return v, err
}

// replaced reports whether there are others than those that were used, and
// loads the chain anew for that.
func (c *credentials) replaced(ctx context.Context, used aws.Credentials) bool {
	c.loading.Lock()
	defer c.loading.Unlock()
	if now, err := c.Retrieve(ctx); err == nil && !same(now, used) {
		return true // somebody else did it
	}
	chain, err := c.load(ctx)
	if err != nil || chain == nil {
		return false
	}
	now, err := chain.Retrieve(ctx)
	if err != nil || same(now, used) {
		return false
	}
	c.mu.Lock()
	c.chain = chain
	c.mu.Unlock()
	return true
}

func same(a, b aws.Credentials) bool {
	return a.AccessKeyID == b.AccessKeyID && a.SecretAccessKey == b.SecretAccessKey && a.SessionToken == b.SessionToken
}

// maxSkew is from when on the SDK takes clocks for different; S3 allows 15 minutes.
const maxSkew = 4 * time.Minute

// misdated reports whether a refusal was given at another time than this machine's.
func misdated(err error) bool {
	var answer *awshttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return false
	}
	there, err := http.ParseTime(answer.Response.Header.Get("Date"))
	return err == nil && time.Since(there).Abs() > maxSkew
}

// again reports whether an operation is worth another try with other
// credentials, after it came to err with those used. The n-th time that the
// chain has none, where it had some before, it waits first.
func (c *credentials) again(ctx context.Context, used aws.Credentials, n int, err error) bool {
	var none *credentialsError
	if errors.As(err, &none) {
		c.mu.Lock()
		had := c.had
		c.mu.Unlock()
		return had && pause(ctx, n) == nil
	}
	if n == 0 && status(err) == http.StatusForbidden && misdated(err) {
		return true // the SDK knows the server's time by now; from an answer to HEAD it does not learn the reason
	}
	switch code(err) {
	case "ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired":
		// More than once they cannot be over by chance, as for a server with a wrong clock.
		return (n == 0 || pause(ctx, n) == nil) && c.replaced(ctx, used)
	}
	return false
}

// addRenewal repeats operations whose credentials are over. It surrounds all of
// an operation, because the SDK asks for credentials once for all attempts.
func (c *credentials) addRenewal(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("kmsfsRenewal", func(
		ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
	) (middleware.InitializeOutput, middleware.Metadata, error) {
		start, err := offset(in.Parameters)
		if err != nil {
			return middleware.InitializeOutput{}, middleware.Metadata{}, err
		}
		for n := 0; ; n++ {
			used, _ := c.Retrieve(ctx) // the operation will tell what is wrong
			out, md, err := next.HandleInitialize(ctx, in)
			if err == nil || !c.again(ctx, used, n, err) || rewind(in.Parameters, start) != nil {
				return out, md, err
			}
		}
	}), middleware.Before)
}

// bodyOf returns the body of a request's parameters; nil if it has none.
func bodyOf(parameters any) io.Seeker {
	var body io.Reader
	switch p := parameters.(type) {
	case *s3.PutObjectInput:
		body = p.Body
	case *s3.UploadPartInput:
		body = p.Body
	}
	seeker, _ := body.(io.Seeker)
	return seeker
}

func offset(parameters any) (int64, error) {
	if body := bodyOf(parameters); body != nil {
		return body.Seek(0, io.SeekCurrent)
	}
	return 0, nil
}

func rewind(parameters any, to int64) error {
	if body := bodyOf(parameters); body != nil {
		_, err := body.Seek(to, io.SeekStart)
		return err
	}
	return nil
}
