package crypto

import (
	"errors"
	"fmt"

	"github.com/aws/smithy-go"
)

// Reason says why a KMS key cannot be used.
type Reason uint8

// The reasons. A caller may go on after Denied (the key may well be usable by
// S3) and may try again after Unanswered; all others stand until someone
// changes the key or its name.
const (
	Unanswered      Reason = iota // KMS could not be asked, or gave no usable answer
	Malformed                     // not the form of a key id, alias or ARN
	NotFound                      // no such key in this account and region
	NoTarget                      // no such alias, or it points to no key
	WrongRegion                   // the key is in another region than the bucket
	Denied                        // no right to what was asked
	Disabled                      // switched off
	PendingDeletion               // scheduled to be destroyed
	PendingImport                 // has no key material yet
	Unavailable                   // still being created, or its key store is disconnected
	Asymmetric                    // RSA, ECC, ML-DSA ...: cannot encrypt objects
	HMAC                          // computes MACs only
	NotAccepted                   // the object is under a key or a context that is not accepted here
	Mismatch                      // the data key was wrapped by another key than it says
)

// KeyError says which key cannot be used, why, and what to do about it.
type KeyError struct {
	ID     string // as it was given
	Reason Reason
	Detail string // what was seen: a state, a key spec, a region
	Remedy string // what the user can do
	Err    error  // what KMS answered; nil where the key itself is at fault
}

// Error names the key, the finding and the remedy.
func (e *KeyError) Error() string {
	s := fmt.Sprintf("KMS key %q %s", e.ID, e.Detail)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// Unwrap returns KMS's answer.
func (e *KeyError) Unwrap() error { return e.Err }

// Passing reports whether err says that KMS could not be asked or gave no
// answer, which time may heal: data keys in memory stay good for their grace.
func Passing(err error) bool {
	var e *KeyError
	return errors.As(err, &e) && e.Reason == Unanswered
}

// Refused reports whether err says that KMS does not let the key be used: no
// right, disabled, pending, gone. Data keys under it must not be used any more.
func Refused(err error) bool {
	var e *KeyError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Reason {
	case Denied, Disabled, PendingDeletion, PendingImport, Unavailable, NotFound:
		return true
	}
	return false
}

// AccessDenied reports whether err says that the caller has no right to use the
// key.
func AccessDenied(err error) bool {
	var e *KeyError
	return errors.As(err, &e) && e.Reason == Denied
}

// requestError classifies how a request to use the KMS key arn failed. Where
// KMS says that the data key is not what it wrapped, that is ErrTampered; all
// else is a *KeyError.
func requestError(op, arn string, err error) error {
	e := &KeyError{ID: arn, Reason: Unanswered, Detail: "could not be asked for " + op, Err: err}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return e
	}
	switch api.ErrorCode() {
	case "AccessDeniedException", "AccessDenied":
		e.Reason, e.Detail = Denied, "may not be used by these credentials"
		e.Remedy = fmt.Sprintf("allow them %s on the key, in its policy and in theirs, or by a grant", action(op))
	case "InvalidGrantTokenException":
		e.Reason, e.Detail = Denied, "may not be used with these grant tokens"
		e.Remedy = "give tokens of grants on this key, or none: a grant needs its token for some minutes only"
	case "DisabledException":
		e.Reason, e.Detail = Disabled, "is disabled"
		e.Remedy = "enable it with `aws kms enable-key --key-id " + arn + "`"
	case "KMSInvalidStateException":
		e.Reason, e.Detail = Unavailable, "is in a state that does not allow "+op
		e.Remedy = "see its state with `aws kms describe-key --key-id " + arn + "`; a deletion is stopped by `aws kms cancel-key-deletion`"
	case "NotFoundException":
		e.Reason, e.Detail = NotFound, "does not exist in the region and account of its ARN"
		e.Remedy = "check the ARN and the KMS endpoint; what a deleted key has wrapped cannot be opened by anybody"
	case "IncorrectKeyException":
		e.Reason, e.Detail = Mismatch, "did not wrap the data key that the object names it for"
	case "InvalidKeyUsageException", "UnsupportedOperationException":
		e.Reason, e.Detail = Asymmetric, "cannot be used for "+op
		e.Remedy = "choose a symmetric encryption key (key spec SYMMETRIC_DEFAULT)"
	case "ValidationException", "InvalidArnException":
		e.Reason, e.Detail, e.Remedy = Malformed, "was asked for "+op+" in a form that KMS does not take", idForms
	case "InvalidCiphertextException":
		return fmt.Errorf("KMS key %q cannot open the wrapped data key in its encryption context (%v): %w", arn, err, ErrTampered)
	}
	return e
}

// action names the permissions that an operation needs.
func action(op string) string {
	if op == opReEncrypt {
		return "kms:ReEncryptFrom, and kms:ReEncryptTo on the new key,"
	}
	return "kms:" + op
}

// asKeyError makes a *KeyError of what is neither one nor says that the object
// itself is at fault: nobody asked, or the answer was not waited for.
func asKeyError(id, detail string, err error) error {
	var e *KeyError
	if err == nil || errors.As(err, &e) || errors.Is(err, ErrTampered) || errors.Is(err, ErrForeign) {
		return err
	}
	return &KeyError{ID: id, Reason: Unanswered, Detail: detail, Err: err}
}
