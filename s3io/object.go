package s3io

import (
	"time"

	"github.com/kmsfs/kmsfs/crypto"
)

// Object is what is known about one object (or one version of it). Objects
// from a listing have Head == false: Meta, Encryption and headers are unknown.
type Object struct {
	Key          string // relative to the mount's prefix
	Size         int64  // bytes of the content
	Stored       int64  // bytes of the object; more than Size if it is Sealed
	Form         Form   // how the content is stored; what a listing tells is a guess by size
	ETag         string // opaque, compared for equality only; quotes as the server gave them
	VersionID    string // "" where the bucket has no versions, "null" where versioning is suspended
	LastModified time.Time
	StorageClass string // "" is STANDARD

	Head       bool              // the fields below are known
	Meta       map[string]string // user metadata, lower-case names without x-amz-meta-, without the commit id
	Headers    Headers
	Lock       Lock
	Tags       int // how many tags there are, where the server tells
	Encryption Encryption

	// Of an object that Envelope made. Header is nil where it is not known: it
	// need not be in the metadata.
	Header  *crypto.Header
	Xattrs  string // sealed extended attributes as stored; "" is none
	Spliced int64  // frames of its message that splices replaced: no longer in the object
}

// stored returns the bytes of the object.
func (o Object) stored() int64 { return max(o.Size, o.Stored) }

// Headers are the system metadata that copies carry over.
type Headers struct {
	ContentType, ContentEncoding, ContentLanguage string
	ContentDisposition, CacheControl              string
	Expires                                       string
	WebsiteRedirect                               string
}

// Lock is S3 Object Lock's protection of one version.
type Lock struct {
	Mode      string // "", "GOVERNANCE", "COMPLIANCE"
	Until     time.Time
	LegalHold bool
}

// Encryption is how the server says an object is encrypted.
type Encryption struct {
	Algorithm string // "", "AES256", "aws:kms", "aws:kms:dsse"
	KeyID     string // as answered: an ARN from AWS
	BucketKey bool
}

// Condition guards a creating or deleting request against other writers.
type Condition struct {
	IfAbsent bool   // If-None-Match: *
	IfMatch  string // ETag the key must have; "" is no condition
	Exact    bool   // nothing else will do: Options.OnConflict does not apply
}

// Attrs are what a creating request stores beside the content.
type Attrs struct {
	Meta    map[string]string // user metadata, complete: what is absent is removed; s3io adds the commit id
	Headers Headers           // zero: carried over from Base, or from the source of a copy

	// Base is the object whose place the new one takes: its headers, tags, storage
	// class, ACL and lock are carried over. nil is a new object. Copy ignores
	// it: there the source is the base.
	Base *Object

	// Xattrs are the extended attributes, complete; nil carries over those of
	// Base, or of the source of a copy. Without Envelope they are in Meta, as
	// s3fs stores them.
	Xattrs map[string][]byte

	commit string // id of the request; "" is a random one
}
