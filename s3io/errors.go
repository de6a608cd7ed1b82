package s3io

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind classifies an error by what its reader can do about it. It is decided
// once, at the client call, by error type or code, never by text.
type Kind uint8

// The kinds. Package fs maps each to one errno.
const (
	Other          Kind = iota // anything else
	NotExist                   // no such key, bucket or upload
	Permission                 // S3 or KMS says access denied
	KeyDisabled                // KMS key disabled or pending deletion
	KeyNotFound                // KMS key does not exist here
	KeyRejected                // key, context or storage form that this mount does not accept
	Integrity                  // checksum or authentication tag wrong
	Stale                      // changed by somebody else
	Exists                     // exists already
	TooLarge                   // larger than S3 can store
	NoSpace                    // spool or metadata full
	NameTooLong                // key over 1,024 bytes
	ReadOnlyBucket             // writing is refused by configuration
	Timeout                    // deadline over
	Interrupted                // the caller went away while waiting
	Unsupported                // S3, or this release, cannot express the operation
	Unverified                 // the server's answer does not prove the required encryption
	Misconfigured              // option or environment that the user must change
)

// Error is an operation on a key that came to nothing.
type Error struct {
	Kind Kind
	Op   string // "put", "get", "upload part 3", ...
	Key  string // relative to the mount's prefix; "" for the bucket
	Hint string // what the user can do about it; "" where there is nothing
	Err  error  // cause; may be nil
}

// Error says what was tried on what, why it came to nothing, and the remedy, in
// one printable line whatever a server said.
func (e *Error) Error() string {
	s := e.Op
	if e.Key != "" {
		s += fmt.Sprintf(" %q", e.Key)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return Printable(strings.ReplaceAll(s, "\n", "; ")) // errors.Join makes lines
}

// Printable returns s as it is, or escaped where it could drive a terminal or
// begin a line of its own: names and messages are made by others.
func Printable(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return s
	}
	s = strconv.Quote(s)
	return s[1 : len(s)-1]
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the outermost Error in err's chain, Other where
// there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Other
}

// ErrNotHeld is returned by a Writer for bytes that were sent and are held no more:
// after Commit they lie in the base.
var ErrNotHeld = errors.New("bytes were sent and are no longer held: commit first")
