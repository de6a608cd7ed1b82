package s3io

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/kmsfs/kmsfs/crypto"
)

// Envelope says how content is sealed before it leaves the machine. Keys and
// accepted contexts come from here, never from the bucket.
type Envelope struct {
	KeyIDs      []string // id, ARN, alias or alias ARN; the first makes data keys, all of them wrap those
	AllowKeyIDs []string // further keys whose objects may be read
	Any         bool     // whatever key and context an object names is accepted: for commands that open what they are told to

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

	Reserve     bool // the newest data key is kept for Keyring.SealReserve
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
	metaSpliced = "kmsfs-s" // how many frames of the message splices replaced, decimal
)

// sealing reports whether content is sealed before it leaves.
func (b *Bucket) sealing() bool { return b.keys != nil }

// marker reports whether key is that of a directory's marker, which has no
// content and is never sealed.
func marker(key string) bool { return strings.HasSuffix(key, "/") }

// validate refuses what cannot work under e, which is nil where nothing is
// sealed.
func (e *Envelope) validate(o Options) error {
	if e == nil {
		return nil
	}
	switch {
	case len(e.KeyIDs) == 0 && !o.ReadOnly:
		return misuse("no key is named to seal files under", "name one with --envelope-key-id, or use --read-only")
	case len(e.KeyIDs)+len(e.AllowKeyIDs) == 0 && !e.Any:
		return misuse("no key is accepted", "name one with --envelope-key-id or --allow-key-id")
	case e.WriteOnly && o.ReadOnly:
		return misuse("a mount that neither reads nor writes is of no use", "leave out --write-only or --read-only")
	case e.Scope != crypto.ScopeBucket && e.Scope != crypto.ScopeObject:
		return misuse("unknown scope of the encryption context", "--context-scope takes bucket or object")
	case e.TTL < 0:
		return misuse("the time that data keys are used is negative", "check --key-cache-ttl")
	case e.ContextBucket == "" && !e.Any && (strings.HasPrefix(o.Bucket, "arn:") || strings.HasSuffix(o.Bucket, "-s3alias")):
		return misuse(fmt.Sprintf("%s is an access point, of which there may be many for one bucket", o.Bucket),
			"name the bucket that objects are bound to with --context-bucket")
	}
	if e.Any {
		return nil
	}
	_, _, err := e.contexts(o.Bucket, "aws")
	return err
}

// contexts returns the ARN of the bucket that objects are bound to, where
// bucket is the mount's, and those of the others that they may be bound to.
func (e *Envelope) contexts(bucket, partition string) (own string, accepted []string, err error) {
	if e.ContextBucket != "" {
		bucket = e.ContextBucket
	}
	if own, err = bucketARN(partition, bucket); err != nil {
		return "", nil, err
	}
	for _, name := range e.AcceptContextBuckets {
		other, err := bucketARN(partition, name)
		if err != nil {
			return "", nil, err
		}
		accepted = append(accepted, other)
	}
	return own, accepted, nil
}

// bucketARN returns the ARN of a bucket that is given by its name or its ARN.
func bucketARN(partition, bucket string) (string, error) {
	name := bucket
	if a, err := arn.Parse(bucket); err == nil && a.Service == "s3" && a.Region == "" && a.AccountID == "" {
		partition, name = a.Partition, a.Resource
	}
	if name == "" || strings.ContainsAny(name, ":/*?") {
		return "", misuse(fmt.Sprintf("%q is no bucket", bucket), "--context-bucket and --accept-context-bucket take a bucket's name or its ARN (arn:aws:s3:::NAME)")
	}
	return "arn:" + partition + ":s3:::" + name, nil
}

// partitions are AWS's, by the beginning of the names of their regions.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
var partitions = []struct{ region, partition string }{
	{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"us-isob-", "aws-iso-b"}, {"us-isof-", "aws-iso-f"},
	{"eu-isoe-", "aws-iso-e"}, {"us-iso-", "aws-iso"}, {"eusc-", "aws-eusc"},
}

func partitionOf(region string) string {
	for _, p := range partitions {
		if strings.HasPrefix(region, p.region) {
			return p.partition
		}
	}
	return "aws"
}
