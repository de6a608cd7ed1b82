package s3

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// KMS is what S3 asks of the key service, in the name of the caller that ctx carries (see wire.Caller). Errors are
// *wire.Error in the words of KMS.
type KMS interface {
	// GenerateDataKey returns a 256-bit data key, the same as wrapped by the key that id, ARN or alias name, and that
	// key's ARN.
	GenerateDataKey(ctx context.Context, key string, encryption map[string]string) (plain, wrapped []byte, arn string, err error)
	// Decrypt opens what GenerateDataKey wrapped.
	Decrypt(ctx context.Context, arn string, wrapped []byte, encryption map[string]string) (plain []byte, err error)
}

// managedKey is the AWS managed key that S3 uses where none is named.
const managedKey = "alias/aws/s3"

// arnPair is the name of the pair that S3 adds to every encryption context.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html#encryption-context
const arnPair = "aws:s3:arn"

// keys are where data keys come from, and the cache of bucket keys. A bucket key is fetched once per bucket, key,
// encryption context and caller, and kept for a period:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html
// A right that is taken away bites at once, which AWS does within minutes; a disabled key when the period is over.
type keys struct {
	kms     KMS
	denials *wire.Denials
	now     func() time.Time
	period  time.Duration
	master  []byte // of SSE-S3

	mu      sync.Mutex
	writing map[string]*bucketKey
	reading map[string]*bucketKey
}

// A bucketKey is one entry of the cache. Its mutex is held while KMS is asked, so that callers at once ask once.
type bucketKey struct {
	mu      sync.Mutex
	expires time.Time // zero: not fetched yet
	plain   []byte
	wrapped []byte
	arn     string
}

// flush forgets all bucket keys.
func (k *keys) flush() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writing, k.reading = map[string]*bucketKey{}, map[string]*bucketKey{}
}

// generate returns a new data key for an object, or for a multipart upload, that is to be encrypted as w says.
func (k *keys) generate(ctx context.Context, w wish, bucket, key string) (seal, []byte, error) {
	s := seal{Algorithm: w.algorithm, BucketKey: w.bucketKey, Context: w.context}
	if w.algorithm == sseS3 {
		s.Wrapped = make([]byte, sha256.Size)
		_, _ = rand.Read(s.Wrapped) // never fails: crypto/rand documents it
		return s, k.derive(s.Wrapped), nil
	}
	if w.keyID == "" {
		w.keyID = managedKey
	}
	s.Bound = map[string]string{arnPair: objectARN(bucket, key)}
	if s.BucketKey {
		s.Bound[arnPair] = bucketARN(bucket)
	}
	arn := s.Bound[arnPair]
	for name, value := range w.pairs {
		s.Bound[name] = value
	}
	if s.Bound[arnPair] != arn { // S3 adds its own pair where the client has none, and else validates the client's
		return s, nil, invalidArgument(strings.ToLower(headerContext), w.context, "The encryption context names another %s than %s", arnPair, arn)
	}
	if !s.BucketKey {
		plain, wrapped, arn, err := k.kms.GenerateDataKey(ctx, w.keyID, s.Bound)
		if err != nil {
			return s, nil, ofKMS(err)
		}
		s.KeyID, s.Wrapped = arn, wrapped
		return s, plain, nil
	}
	b, err := k.bucketKey(ctx, w.keyID, s.Bound)
	if err != nil {
		return s, nil, err
	}
	s.KeyID, s.Wrapped = b.arn, b.wrapped
	return s, b.plain, nil
}

// bucketKey returns the current bucket key for writing.
func (k *keys) bucketKey(ctx context.Context, keyID string, bound map[string]string) (*bucketKey, error) {
	caller := wire.Caller(ctx).ARN
	b := k.entry(func() map[string]*bucketKey { return k.writing }, cacheKey(caller, keyID, bound))
	b.mu.Lock()
	defer b.mu.Unlock()
	if k.now().Before(b.expires) {
		if k.denials.Denied("kms:GenerateDataKey", b.arn, caller) {
			return nil, accessDenied(caller, "kms:GenerateDataKey", b.arn)
		}
		return b.copy(), nil
	}
	plain, wrapped, arn, err := k.kms.GenerateDataKey(ctx, keyID, bound)
	if err != nil {
		return nil, ofKMS(err)
	}
	b.plain, b.wrapped, b.arn, b.expires = plain, wrapped, arn, k.now().Add(k.period)
	known := b.copy()
	k.mu.Lock()
	k.reading[cacheKey(caller, string(wrapped), bound)] = known
	k.mu.Unlock()
	return b.copy(), nil
}

// copy returns the entry's values, without its mutex.
func (b *bucketKey) copy() *bucketKey {
	return &bucketKey{plain: b.plain, wrapped: b.wrapped, arn: b.arn, expires: b.expires}
}

// open returns the data key of an existing object or upload.
func (k *keys) open(ctx context.Context, s seal) ([]byte, error) {
	if s.Algorithm == sseS3 {
		return k.derive(s.Wrapped), nil
	}
	if !s.BucketKey {
		plain, err := k.kms.Decrypt(ctx, s.KeyID, s.Wrapped, s.Bound)
		if err != nil {
			return nil, ofKMS(err)
		}
		return plain, nil
	}
	caller := wire.Caller(ctx).ARN
	b := k.entry(func() map[string]*bucketKey { return k.reading }, cacheKey(caller, string(s.Wrapped), s.Bound))
	b.mu.Lock()
	defer b.mu.Unlock()
	if k.now().Before(b.expires) {
		if k.denials.Denied("kms:Decrypt", s.KeyID, caller) {
			return nil, accessDenied(caller, "kms:Decrypt", s.KeyID)
		}
		return b.plain, nil
	}
	plain, err := k.kms.Decrypt(ctx, s.KeyID, s.Wrapped, s.Bound)
	if err != nil {
		return nil, ofKMS(err)
	}
	b.plain, b.expires = plain, k.now().Add(k.period)
	return plain, nil
}

// entry finds or makes an entry of one of the two caches.
func (k *keys) entry(cache func() map[string]*bucketKey, name string) *bucketKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := cache()[name]
	if b == nil {
		b = &bucketKey{}
		cache()[name] = b
	}
	return b
}

// derive returns the SSE-S3 data key of a salt.
func (k *keys) derive(salt []byte) []byte {
	h := hmac.New(sha256.New, k.master)
	h.Write(salt)
	return h.Sum(nil)
}

func cacheKey(caller, key string, bound map[string]string) string {
	text, _ := json.Marshal([]any{caller, []byte(key), bound}) // strings and bytes always marshal; maps in key order
	return string(text)
}

func bucketARN(bucket string) string { return "arn:aws:s3:::" + bucket }

func objectARN(bucket, key string) string { return bucketARN(bucket) + "/" + key }
