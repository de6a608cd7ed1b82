package s3io

import "time"

// Object is what is known about one object (or one version of it). Objects
// from a listing have Head == false: Meta, Encryption and headers are unknown.
type Object struct {
	Key          string // relative to the mount's prefix
	Size         int64  // bytes
	ETag         string // opaque, compared for equality only; quotes as the server gave them
	VersionID    string // "" where the bucket has no versions
	LastModified time.Time
	StorageClass string

	Head       bool              // the fields below are known
	Meta       map[string]string // user metadata, lower-case names without x-amz-meta-
	Headers    Headers
	Encryption Encryption
}

// Headers are the system metadata that copies carry over.
type Headers struct {
	ContentType, ContentEncoding, ContentLanguage string
	ContentDisposition, CacheControl              string
	Expires                                       string
	WebsiteRedirect                               string
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
}
