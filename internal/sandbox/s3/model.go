package s3

import "time"

// nullVersion is the version ID of what was written while the bucket was not versioned, or suspended.
const nullVersion = "null"

// Versioning states of a bucket.
const (
	Unversioned = ""
	Enabled     = "Enabled"
	Suspended   = "Suspended"
)

// A settings is what is known of a bucket besides its content.
type settings struct {
	Name       string
	Region     string
	Created    time.Time
	Versioning string
	Encryption Encryption // default of new objects; never empty
}

// Encryption is a bucket's default encryption.
type Encryption struct {
	Algorithm string // AES256, aws:kms or aws:kms:dsse; "" is AES256
	KeyID     string // id, ARN or alias, as it was given; "" is the AWS managed key
	BucketKey bool
}

// A seal is how an object, or a multipart upload, is encrypted.
type seal struct {
	Algorithm string
	KeyID     string // ARN; "" under AES256
	BucketKey bool
	Context   string            // as the client sent it: base64 of JSON; "" if it sent none
	Bound     map[string]string // encryption context that KMS saw
	Wrapped   []byte            // data key as KMS wrapped it; under AES256 the salt that it is derived with
}

// Attributes are what the client stores with an object.
type attributes struct {
	Headers map[string]string // Content-Type and its like, by canonical name
	Meta    map[string]string // user metadata, by lower-case name without x-amz-meta-
	Tags    string            // URL encoded, in canonical order
	Class   string            // storage class
}

// A part is one blob of an object or of an upload.
type part struct {
	Number   int
	Blob     string // "": it was discarded
	Size     int64  // of the content
	ETag     string
	Checksum []byte // by the algorithm of the object or upload
	Modified time.Time
}

// A checksum is what S3 stores of an object's or part's integrity.
type checksum struct {
	Algorithm string // such as CRC64NVME
	Type      string // FULL_OBJECT or COMPOSITE
	Value     string // base64, with -N if composite
}

// A version is one version of an object. It never changes once it is in the index; content is shared by its copies.
type version struct {
	attributes
	Key       string
	ID        string
	Marker    bool // a delete marker
	Modified  time.Time
	ETag      string // without quotes
	Size      int64
	Seal      seal
	Checksum  checksum
	Multipart bool
	Content   *content
}

// A content is the blobs of a version, or of several. Parts never change.
type content struct {
	Parts []part

	pins     int // readers; guarded by store.mu
	versions int // of the index that have it; guarded by store.mu
}

// An upload is a multipart upload in progress. It never changes once it is in the index, but for Parts.
type upload struct {
	attributes
	ID        string
	Key       string
	Initiator string // ARN of who began it
	Started   time.Time
	Seal      seal
	Sum       checksum // algorithm and type; Value is empty. Algorithm "" if the client named none
	Parts     map[int]part
}

// algorithm is the one by which the parts' checksums are kept.
func (u *upload) algorithm() string {
	if u.Sum.Algorithm == "" {
		return defaultChecksum
	}
	return u.Sum.Algorithm
}
