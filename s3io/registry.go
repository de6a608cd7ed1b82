package s3io

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/crypto"
)

// The rewrap registry maps encrypted data keys, as object headers have them,
// to others of the same data keys, so that the key of a million objects can be
// changed without touching one. Its entries are not to be trusted: what they
// name is opened under accepted keys alone, and has to fit the object's header.
const (
	rewrapDir  = ".kmsfs/rewrap/" // entries have the names of crypto.RewrapName
	maxRewrap  = 16 << 10         // bytes of an entry that are read; none has more
	rewrapTTL  = time.Minute      // how long an answer is believed, also that there is no entry
	rewrapHeld = 4096             // answers that are kept
)

// registry keeps what was read of the registry.
type registry struct {
	mu      sync.Mutex // guards the fields below; never held over I/O
	answers map[string]rewrapAnswer
}

type rewrapAnswer struct {
	edk   crypto.EDK
	found bool
	until time.Time
}

// Keyring returns the bucket's keyring; nil without Envelope.
func (b *Bucket) Keyring() *crypto.Keyring { return b.keys }

// Rewrapped returns the registry's EDK of the data key that old is one of, and
// whether there is one. What it says may be a minute old.
func (b *Bucket) Rewrapped(ctx context.Context, old crypto.EDK) (crypto.EDK, bool, error) {
	key := rewrapDir + crypto.RewrapName(old.Blob)
	now := time.Now()
	if a, known := b.rewraps.get(key, now); known {
		return a.edk, a.found, nil
	}
	edk, _, err := b.readRewrap(ctx, key)
	switch KindOf(err) {
	case Integrity:
		b.warn("malformed entries of the rewrap registry are ignored; run kmsfs rekey again")
	case NotExist:
	default:
		if err != nil {
			return crypto.EDK{}, false, err
		}
	}
	b.rewraps.put(key, rewrapAnswer{edk: edk, found: err == nil, until: now.Add(rewrapTTL)})
	return edk, err == nil, nil
}

// PutRewrap makes r an entry of the registry and reports whether it was none
// before. It replaces an entry under another KMS key, and leaves one under the
// same as it is.
func (b *Bucket) PutRewrap(ctx context.Context, r crypto.Rewrapped) (bool, error) {
	key, text := rewrapDir+r.Name(), crypto.EncodeRewrap(r.New)
	for n := 0; ; n++ {
		c := Condition{IfAbsent: true}
		there, etag, err := b.readRewrap(ctx, key)
		switch {
		case err == nil && there.Info == r.New.Info:
			return false, nil
		case err == nil || KindOf(err) == Integrity:
			c = Condition{IfMatch: etag}
		case KindOf(err) != NotExist:
			return false, err
		}
		_, err = b.Put(ctx, key, bytes.NewReader(text), int64(len(text)), Attrs{Headers: Headers{ContentType: "application/json"}}, c)
		if k := KindOf(err); err == nil || k != Exists && k != Stale || n == 3 {
			b.rewraps.drop(key)
			return err == nil, err
		}
	}
}

// readRewrap reads the entry of that key, and its ETag. Kind NotExist says that
// there is none, Integrity that it is none.
func (b *Bucket) readRewrap(ctx context.Context, key string) (edk crypto.EDK, etag string, err error) {
	const op = "read the rewrap registry"
	ctx, deadline := b.reading(ctx)
	defer deadline.stop()
	out, err := b.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.opts.Bucket, Key: aws.String(b.full(key))})
	if err != nil {
		return edk, "", classify(ctx, op, key, err)
	}
	defer out.Body.Close()
	etag = aws.ToString(out.ETag)
	text, err := io.ReadAll(io.LimitReader(out.Body, maxRewrap+1))
	if err != nil {
		return edk, etag, classify(ctx, op, key, err)
	}
	if edk, err = crypto.ParseRewrap(text); err != nil {
		err = &Error{Kind: Integrity, Op: op, Key: key, Err: err, Hint: "run kmsfs rekey again"}
	}
	return edk, etag, err
}

func (r *registry) get(key string, now time.Time) (rewrapAnswer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, known := r.answers[key]
	return a, known && now.Before(a.until)
}

// put keeps an answer; a full memory begins anew.
func (r *registry) put(key string, a rewrapAnswer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.answers) >= rewrapHeld || r.answers == nil {
		r.answers = map[string]rewrapAnswer{}
	}
	r.answers[key] = a
}

func (r *registry) drop(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.answers, key)
}
