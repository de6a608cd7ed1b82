package s3io

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/crypto"
)

// managedKey is the key that S3 uses where none is named.
const managedKey = "alias/aws/s3"

// describeTimeout bounds the wait for KMS: SSE-KMS needs no way to KMS of our
// own, and hosts without one must be able to mount.
const describeTimeout = 15 * time.Second

// resolve settles what creating requests carry and what answers must prove, as
// far as that is known before the probe.
func (b *Bucket) resolve(ctx context.Context, cfg aws.Config) error {
	e := expectation{algorithm: b.policy.Mode}
	key, err := b.policy.KeyID, error(nil)
	switch b.policy.Mode {
	case ModeNone:
		e = expectation{none: true}
	case ModeBucketDefault:
		if e, key, err = b.bucketDefault(ctx, cfg); err != nil {
			return err
		}
	}
	if e.algorithm == ModeKMS || e.algorithm == ModeDSSE {
		if key, err = b.describe(ctx, cfg, key); err != nil {
			return err
		}
		if !isAlias(key) { // an alias is compared with nothing: the probe's answer pins it
			e.key, e.loose = key, !isKeyARN(key)
		}
	}
	if b.policy.KeyID == "" {
		key = "" // S3's own choice is not named, even where it is known
	}
	h, err := b.policy.headers(key)
	if err != nil {
		return err
	}
	if b.policy.Mode != ModeBucketDefault {
		e.bucketKey, e.context = h.bucketKey, h.context
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expect, b.sse = e, h
	return nil
}

// describe returns the ARN of the key that id names, or id itself where KMS
// may not, cannot or shall not be asked: then the probe's answer pins it.
func (b *Bucket) describe(ctx context.Context, cfg aws.Config, id string) (string, error) {
	client := crypto.NewKMS(cfg, b.opts.KMSEndpoint)
	endpoint := aws.ToString(client.Options().BaseEndpoint)
	if err := checkEndpoint("KMS", endpoint, "--kms-endpoint-url", b.opts.InsecureHTTP); err != nil {
		return "", err
	}
	if !b.genuine && endpoint == "" {
		return id, nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(describeTimeout, b.lookup))
	defer cancel()
	name := id
	if name == "" {
		name = managedKey
	}
	key, err := crypto.ResolveKey(ctx, client, name, b.region)
	var unfit *crypto.KeyError
	switch {
	case err == nil:
		return key.ARN, nil
	case !errors.As(err, &unfit):
		return "", classify(ctx, "resolve KMS key", "", err)
	case unfit.Reason == crypto.Denied || unfit.Reason == crypto.Unanswered:
		if id != "" && !isKeyARN(id) {
			b.warn(fmt.Sprintf("KMS could not be asked for %s: the key is pinned from S3's first answer (%v)", id, err))
		}
		return id, nil
	case id == "":
		return "", nil // aws/s3 comes into being with its first use
	case !b.genuine && b.opts.Envelope != nil && (unfit.Reason == crypto.NotFound || unfit.Reason == crypto.Malformed):
		return id, nil // a key of the server's own; KMS is there for the envelope's
	}
	return "", &Error{Kind: keyKind(unfit.Reason), Op: "resolve KMS key", Err: err}
}

// keyKind maps why a key cannot be used.
func keyKind(r crypto.Reason) Kind {
	switch r {
	case crypto.Disabled, crypto.PendingDeletion, crypto.PendingImport, crypto.Unavailable:
		return KeyDisabled
	case crypto.NotFound, crypto.NoTarget:
		return KeyNotFound
	case crypto.Asymmetric, crypto.HMAC, crypto.NotAccepted, crypto.Mismatch:
		return KeyRejected
	case crypto.Denied:
		return Permission
	}
	return Misconfigured
}

// bucketDefault reads what the bucket does on its own, and refuses it where it
// does not fit the policy's key. It returns the key that objects come under.
func (b *Bucket) bucketDefault(ctx context.Context, cfg aws.Config) (expectation, string, error) {
	const op, remedy = "read the bucket's default encryption", "set it with `aws s3api put-bucket-encryption`, or use --sse aws:kms"
	out, err := b.s3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &b.opts.Bucket}, few)
	if b.policy.tolerant && status(err) != 0 {
		return expectation{none: true}, "", nil
	}
	if err != nil {
		kind, _ := kindOf(ctx, err)
		hint := "--sse bucket-default needs s3:GetEncryptionConfiguration"
		if code(err) == "ServerSideEncryptionConfigurationNotFoundError" {
			kind, hint = Misconfigured, remedy
		}
		return expectation{}, "", &Error{Kind: kind, Op: op, Hint: hint, Err: plain(ctx, err)}
	}
	if c := out.ServerSideEncryptionConfiguration; c != nil {
		for _, rule := range c.Rules {
			if d := rule.ApplyServerSideEncryptionByDefault; d != nil {
				e := expectation{algorithm: string(d.SSEAlgorithm), bucketKey: rule.BucketKeyEnabled}
				key, err := b.fits(ctx, cfg, e.algorithm, aws.ToString(d.KMSMasterKeyID))
				return e, key, err
			}
		}
	}
	if b.policy.tolerant {
		return expectation{none: true}, "", nil
	}
	return expectation{}, "", &Error{Kind: Misconfigured, Op: op, Err: errors.New("there is no rule"), Hint: remedy}
}

// fits compares a bucket's default with the policy's key, if it names one, and
// returns the key that objects come under.
func (b *Bucket) fits(ctx context.Context, cfg aws.Config, algorithm, key string) (string, error) {
	const remedy = "use --sse aws:kms, or change the default with `aws s3api put-bucket-encryption`"
	wanted := b.policy.KeyID
	switch {
	case algorithm != ModeKMS && algorithm != ModeDSSE:
		if wanted != "" {
			return "", misuse(fmt.Sprintf("the bucket's default encryption is %s, which has no KMS key", algorithm), remedy)
		}
		if b.opts.Envelope == nil {
			b.warn(fmt.Sprintf("the bucket's default encryption is %s: objects are not under a KMS key", algorithm))
		}
		return "", nil
	case wanted == "":
		return key, nil
	}
	wanted, err := b.describe(ctx, cfg, wanted)
	if err != nil {
		return "", err
	}
	if key, err = b.describe(ctx, cfg, key); err != nil {
		return "", err
	}
	if !isAlias(wanted) && !isAlias(key) && !sameKey(wanted, key, true) {
		return "", misuse(fmt.Sprintf("the bucket's default key is %s, not %s", quotedKey(key), wanted), remedy)
	}
	return wanted, nil
}

func quotedKey(key string) string {
	if key == "" {
		return "aws/s3"
	}
	return key
}

// pin makes the key of a proven answer the one that all others must name,
// where until now only another form of its name was known.
func (b *Bucket) pin(p proof) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.KeyID == "" || isKeyARN(b.expect.key) || b.expect.key != "" && !isKeyARN(p.KeyID) {
		return
	}
	b.expect.key, b.expect.loose = p.KeyID, !isKeyARN(p.KeyID)
	if b.genuine && b.sse.keyID != "" {
		b.sse.keyID = p.KeyID // an alias may move, the pinned key does not
	}
}
