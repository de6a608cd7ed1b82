package s3io

import (
	"net"
	"testing"

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
