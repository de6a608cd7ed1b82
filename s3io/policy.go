package s3io

// SSE modes, named as the AWS CLI's --sse.
const (
	ModeKMS           = "aws:kms"
	ModeDSSE          = "aws:kms:dsse"
	ModeS3            = "AES256"
	ModeBucketDefault = "bucket-default"
)

// BucketKeyMode says what x-amz-server-side-encryption-bucket-key-enabled carries.
type BucketKeyMode uint8

// Bucket key modes: the zero value is on, as the command line's default.
const (
	BucketKeyOn BucketKeyMode = iota
	BucketKeyOff
	BucketKeyInherit // the header is left out; the bucket decides
)

// Policy is the server-side encryption that every created object must carry.
type Policy struct {
	Mode      string // one of the Mode constants; "" is ModeKMS
	KeyID     string // key id, ARN, alias or alias ARN; "" is the AWS managed key aws/s3
	BucketKey BucketKeyMode
	Context   map[string]string // encryption context pairs; not secret
}
