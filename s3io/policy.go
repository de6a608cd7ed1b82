package s3io

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// SSE modes, named as the AWS CLI's --sse.
const (
	ModeKMS           = "aws:kms"
	ModeDSSE          = "aws:kms:dsse"
	ModeS3            = "AES256"
	ModeBucketDefault = "bucket-default"
	ModeNone          = "none" // only with Envelope: no headers are sent and no proof is demanded
)

// BucketKeyMode says what x-amz-server-side-encryption-bucket-key-enabled carries.
type BucketKeyMode uint8

// Bucket key modes.
const (
	BucketKeyDefault BucketKeyMode = iota // on with aws:kms, left out with every other mode
	BucketKeyOn
	BucketKeyOff
	BucketKeyInherit // the header is left out; the bucket decides
)

// Policy is the server-side encryption that every created object must carry.
type Policy struct {
	Mode      string // one of the Mode constants; "" is ModeKMS, see also underEnvelope
	KeyID     string // key id, ARN, alias or alias ARN; "" is the AWS managed key aws/s3
	BucketKey BucketKeyMode
	Context   map[string]string // encryption context pairs; not secret

	enveloped bool // content is sealed
	tolerant  bool // the bucket need not have a default encryption that can be read
}

// sse is what the policy puts on the wire: the four headers of a creating
// request. This file is the only place that fills them in.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/specifying-kms-encryption.html
type sse struct {
	algorithm string // "" in modes bucket-default and none: then no header is sent at all
	keyID     string // "" leaves the choice to S3: aws/s3
	context   string // base64 of the JSON object; "" is none
	bucketKey *bool  // nil leaves the header out
}

// underEnvelope returns p as it is meant where content is sealed: server-side
// encryption is a second layer then, which is asked for by naming its mode or
// its key. What belongs to the envelope as well is no error in modes that have
// no use for it.
func (p Policy) underEnvelope() Policy {
	if p.Mode == "" && p.KeyID == "" {
		p.Mode, p.tolerant = ModeBucketDefault, true
	}
	switch p.Mode {
	case ModeNone, ModeS3, ModeBucketDefault:
		p.BucketKey, p.Context = BucketKeyDefault, nil
	}
	p.enveloped = true
	return p
}

// normal returns p with its defaults filled in, or an error that names the
// flag to change.
func (p Policy) normal() (Policy, error) {
	if p.Mode == "" {
		p.Mode = ModeKMS
	}
	switch p.Mode {
	case ModeKMS:
		if p.BucketKey == BucketKeyDefault {
			p.BucketKey = BucketKeyOn
		}
		return p, nil
	case ModeDSSE:
		if p.BucketKey == BucketKeyOn {
			return p, misuse("S3 has no bucket keys for aws:kms:dsse", "leave out --bucket-key or use --sse aws:kms")
		}
		p.BucketKey = BucketKeyInherit
	case ModeNone, ModeS3, ModeBucketDefault:
		if p.Mode == ModeNone && !p.enveloped {
			return p, misuse("nothing would be encrypted with --sse none", "name a key with --envelope-key-id, or leave out --sse")
		}
		if p.BucketKey == BucketKeyOn || p.BucketKey == BucketKeyOff {
			return p, misuse("--bucket-key has no meaning with --sse "+p.Mode, "leave it out or use --sse aws:kms")
		}
		if len(p.Context) > 0 {
			return p, misuse("--encryption-context has no meaning with --sse "+p.Mode, "leave it out or use --sse aws:kms")
		}
		if p.KeyID != "" && p.Mode != ModeBucketDefault {
			return p, misuse("--sse-kms-key-id has no meaning with --sse "+p.Mode, "leave it out or use --sse aws:kms")
		}
	default:
		return p, misuse(fmt.Sprintf("unknown encryption mode %q", p.Mode),
			"--sse takes aws:kms, aws:kms:dsse, AES256, bucket-default, or none with --envelope-key-id")
	}
	if p.BucketKey == BucketKeyDefault {
		p.BucketKey = BucketKeyInherit
	}
	return p, nil
}

// headers returns what p, as normal returned it, puts on the wire under keyID.
func (p Policy) headers(keyID string) (sse, error) {
	h := sse{keyID: keyID}
	if p.Mode == ModeBucketDefault || p.Mode == ModeNone {
		return sse{}, nil
	}
	h.algorithm = p.Mode
	switch p.BucketKey {
	case BucketKeyOn:
		h.bucketKey = aws.Bool(true)
	case BucketKeyOff:
		h.bucketKey = aws.Bool(false)
	}
	if len(p.Context) > 0 {
		// json.Marshal sorts the keys of a map: the header never changes.
		text, err := json.Marshal(p.Context)
		if err != nil {
			return sse{}, fmt.Errorf("encode encryption context: %w", err)
		}
		h.context = base64.StdEncoding.EncodeToString(text)
	}
	return h, nil
}

func (h sse) onPut(in *s3.PutObjectInput) {
	in.ServerSideEncryption = types.ServerSideEncryption(h.algorithm)
	in.SSEKMSKeyId = optional(h.keyID)
	in.SSEKMSEncryptionContext = optional(h.context)
	in.BucketKeyEnabled = h.bucketKey
}

func (h sse) onCopy(in *s3.CopyObjectInput) {
	in.ServerSideEncryption = types.ServerSideEncryption(h.algorithm)
	in.SSEKMSKeyId = optional(h.keyID)
	in.SSEKMSEncryptionContext = optional(h.context)
	in.BucketKeyEnabled = h.bucketKey
}

func (h sse) onCreate(in *s3.CreateMultipartUploadInput) {
	in.ServerSideEncryption = types.ServerSideEncryption(h.algorithm)
	in.SSEKMSKeyId = optional(h.keyID)
	in.SSEKMSEncryptionContext = optional(h.context)
	in.BucketKeyEnabled = h.bucketKey
}

// optional returns nil for "", as the SDK wants absent headers.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
