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
	return printable(s)
}

// printable escapes what could drive a terminal or begin a line of a log.
func printable(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\n':
			b.WriteString("; ")
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case !strconv.IsPrint(r):
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
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
