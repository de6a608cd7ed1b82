package crypto

import (
	"errors"
	"fmt"
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
