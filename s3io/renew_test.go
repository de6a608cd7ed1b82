package s3io

import (
	"context"
	"errors"
	"net"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
)

// What the SDK gives up at is tried again: its own rule is that a name which is
// not known now never will be.
func TestPassingErrorsAreTriedAgain(t *testing.T) {
	r := newRetryer(0)
	for _, err := range []error{
		&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}},
		&smithy.OperationError{Err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}},
	} {
		if !r.IsErrorRetryable(err) {
			t.Errorf("%v is not tried again", err)
		}
	}
	if r.IsErrorRetryable(&credentialsError{&net.DNSError{}}) {
		t.Error("the chain, which tried again itself, is asked again by the retryer")
	}
}

// TestRenewalIsNoLoop: a server that calls all credentials expired, as one with a
// wrong clock does, is not asked again and again without a pause.
func TestRenewalIsNoLoop(t *testing.T) {
	loads := 0
	fresh := func(context.Context) (aws.CredentialsProvider, error) {
		loads++
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: strconv.Itoa(loads), SecretAccessKey: "secret"}, nil
		}), nil
	}
	chain, err := fresh(t.Context())
	check(t, err)
	c := &credentials{chain: chain, load: fresh}
	expired := &smithy.GenericAPIError{Code: "ExpiredToken"}
	used, err := c.Retrieve(t.Context())
	check(t, err)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if !c.again(t.Context(), used, 0, expired) {
		t.Error("other credentials are not tried")
	}
	if c.again(over, used, 1, expired) {
		t.Error("the second time there is no pause")
	}
	if c.again(t.Context(), used, 0, errors.New("other")) {
		t.Error("other errors are not a matter of credentials")
	}
}
