package s3io

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Requirement says what becomes of a read of an object that S3 does not
// protect as the policy requires.
type Requirement uint8

// The requirements.
const (
	RequireEnforce Requirement = iota // it is refused with Kind KeyRejected
	RequireWarn                       // the first one of each object is logged
	RequireOff                        // nobody looks
)

// resolveAllowed settles which keys objects may be under besides the policy's.
func (b *Bucket) resolveAllowed(ctx context.Context, cfg aws.Config) error {
	if !b.demands() {
		return nil
	}
	for _, id := range b.opts.AllowKeyIDs {
		key, err := id, error(nil)
		if !isKeyARN(id) { // also of another region, as the envelope's may be
			key, err = b.describe(ctx, cfg, id)
		}
		if err == nil && isAlias(key) {
			err = misuse(fmt.Sprintf("%s could not be resolved", id), "grant kms:DescribeKey, or give --allow-key-id the key's ARN")
		}
		if err != nil {
			return err
		}
		b.allowed = append(b.allowed, key)
	}
	return nil
}

// demands reports whether reads look at how S3 encrypts. Where content is
// sealed they do if S3's encryption was asked for by name: else what counts is
// the keyring.
func (b *Bucket) demands() bool {
	return !b.policy.enveloped || b.policy.Mode == ModeKMS || b.policy.Mode == ModeDSSE
}

// doubt says why an object is not protected as the policy requires; "" if it
// is. What the bucket itself would create is, and what is under an allowed key.
// Without a KMS key in the policy whatever S3 encrypts is.
func (b *Bucket) doubt(e Encryption) string {
	want := b.expectation()
	switch {
	case b.opts.Require == RequireOff || want.none || !b.demands():
		return ""
	case e.Algorithm == "":
		return "S3 does not say that it is encrypted"
	case want.algorithm != ModeKMS && want.algorithm != ModeDSSE:
		return ""
	case e.Algorithm != ModeKMS && e.Algorithm != ModeDSSE:
		return fmt.Sprintf("it is under no KMS key (S3 says %s)", e.Algorithm)
	case e.KeyID == "":
		return "S3 does not say under which KMS key it is"
	case want.key != "" && sameKey(want.key, e.KeyID, want.loose):
		return ""
	}
	for _, key := range b.allowed {
		if sameKey(key, e.KeyID, want.loose || !isKeyARN(key)) {
			return ""
		}
	}
	if want.key == "" {
		return fmt.Sprintf("it is under the KMS key %s, and this mount's own is not known", e.KeyID)
	}
	return fmt.Sprintf("it is under the KMS key %s, which this mount does not accept", e.KeyID)
}

// admit answers a read of an object of which S3 says e.
func (b *Bucket) admit(op, key string, e Encryption) error {
	why := b.doubt(e)
	if why == "" {
		return nil
	}
	if b.opts.Require == RequireWarn {
		b.notices.add(b.log, "an object that is not protected as required is read", key, why)
		return nil
	}
	hint := "bring it under the mount's key (a rename or chmod does), or read it all the same with --require-encryption warn"
	if e.KeyID != "" {
		hint = fmt.Sprintf("accept its key with --allow-key-id %s, %s", e.KeyID, hint)
	}
	return &Error{Kind: KeyRejected, Op: op, Key: key, Err: errors.New(why), Hint: hint}
}

// Readable returns the error that reads of o end with because of how S3
// protects it; nil where they do not. It asks by HEAD where o is of a listing,
// and before it refuses: S3 can change an object's key and leave its ETag.
func (b *Bucket) Readable(ctx context.Context, o Object) error {
	if b.opts.Require != RequireEnforce || !b.demands() || o.Head && b.doubt(o.Encryption) == "" {
		return nil
	}
	now, _, err := b.head(ctx, o.Key, o.VersionID)
	if err != nil {
		return err
	}
	return b.admit("open", o.Key, now.Encryption)
}

// noteCopy logs that a copy of src comes under the policy, which src is not:
// reads of the copy are not refused any more.
func (b *Bucket) noteCopy(src Object, dst string) {
	if why := b.doubt(src.Encryption); why != "" {
		b.notices.add(b.log, "an object that was not protected as required comes under the mount's policy", dst, why)
	}
}

// maxNotices is how many objects are named in the log.
const maxNotices = 1000

// notices names objects in the log, each once, and not without end. The zero
// value is ready to use.
type notices struct {
	mu    sync.Mutex // guards the field below
	given map[string]struct{}
}

func (n *notices) add(log *slog.Logger, what, key, why string) {
	id := key + "\x00" + why
	n.mu.Lock()
	_, known := n.given[id]
	count := len(n.given)
	if !known && count <= maxNotices {
		if n.given == nil {
			n.given = map[string]struct{}{}
		}
		n.given[id] = struct{}{}
	}
	n.mu.Unlock()
	switch {
	case known || count > maxNotices:
	case count == maxNotices:
		log.Warn("further objects that are not protected as required are not named")
	default:
		log.Warn(what, "key", key, "why", why)
	}
}
