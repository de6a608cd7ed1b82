package s3io

import (
	"strings"
	"time"

	"github.com/kmsfs/kmsfs/crypto"
)

// Envelope says how content is sealed before it leaves the machine. Keys and
// accepted contexts come from here, never from the bucket.
type Envelope struct {
	KeyIDs      []string // id, ARN, alias or alias ARN; the first makes data keys, all of them wrap those
	AllowKeyIDs []string // further keys whose objects may be read

	Scope                crypto.Scope
	ContextBucket        string            // name or ARN that objects are bound to; "" is Options.Bucket
	AcceptContextBuckets []string          // names or ARNs of further buckets whose objects may be read
	Context              map[string]string // user pairs of the encryption context; not secret

	WriteOnly    bool            // never asks KMS to decrypt
	KeyPerObject bool            // a data key for every object instead of one for many
	TTL          time.Duration   // how long a data key is used before KMS is asked again; 0 is crypto.DefaultTTL
	Grace        time.Duration   // how much longer while KMS cannot be reached; <0 is none, 0 is crypto.DefaultTTL
	Cache        crypto.KeyCache // of data keys; nil asks KMS at every open
	RequireMlock bool            // fail where keys cannot be kept from swap
	GrantTokens  []string        // sent with every KMS request

	NoSplice    bool // changes rewrite the whole object
	PassForeign bool // objects that are not sealed can be read as they are
}

// Form is how the content of an object is stored.
type Form uint8

// The forms. A bucket without Envelope has only Plain objects.
const (
	Plain   Form = iota // as it is: what kmsfs stores without Envelope, and markers of directories
	Sealed              // an envelope object
	Foreign             // Envelope is on, and this is none
)

// Names of user metadata that belong to sealed objects. They are not in
// Object.Meta, and go with every copy.
const (
	metaHeader  = "kmsfs-h" // the compact header, base64url
	metaXattrs  = "kmsfs-x" // sealed extended attributes, base64url
	metaSpliced = "kmsfs-s" // how many frames were sealed by splices, decimal
)

// sealing reports whether content is sealed before it leaves.
func (b *Bucket) sealing() bool { return b.keys != nil }

// marker reports whether key is that of a directory's marker, which has no
// content and is never sealed.
func marker(key string) bool { return strings.HasSuffix(key, "/") }
