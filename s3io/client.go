package s3io

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/crypto"
)

// Bucket is one bucket, or the part of it below a prefix, under one encryption
// policy. It is safe for concurrent use. Close it when its writers are done.
type Bucket struct {
	// Dependencies.
	s3      *s3.Client
	log     *slog.Logger
	journal *journal        // of this mount's own uploads
	writes  *writes         // what all Writers share
	readers *readPool       // what all Readers share
	keys    *crypto.Keyring // seals and opens content; nil without Envelope
	rewraps registry        // what is known of the rewrap registry

	// Constant after Open.
	opts      Options
	policy    Policy        // normalised
	region    string        // the bucket's
	lookup    time.Duration // deadline of lookups and reads
	commit    time.Duration // deadline of commits, from their last progress
	genuine   bool          // AWS itself, not a custom endpoint
	private   bool          // requests go over TLS, or do not leave the machine
	copyLimit int64         // bytes that CopyObject takes; beyond it, UploadPartCopy
	partCopy  int64         // bytes of the parts of such a copy

	allowed     []string // keys that objects may be under besides the policy's: ARNs, or as given where KMS is not asked
	sealedUnder []string // ARNs of the KMS keys that wrap the data keys of new objects; none without Envelope

	ctx    context.Context // ends when Close gives up waiting: aborts what runs
	cancel context.CancelFunc

	counters counters
	notices  notices

	probing sync.Mutex // held over the whole probe: there is one at a time

	mu       sync.Mutex // guards the fields below; never held over I/O
	closers  []func(context.Context) error
	expect   expectation  // what answers must prove
	sse      sse          // what creating requests carry
	caps     Capabilities // known after Probe
	probed   bool
	acls     bool   // objects may have ACLs of their own
	readOnly string // reason; "" while writing is allowed
	warnings []string
}

// Key returns the ARN of the KMS key that every created object must be under:
// resolved at Open or pinned by Probe. On a custom endpoint without KMS it is
// the key as given; without a KMS key it is "".
func (b *Bucket) Key() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.expect.key
}

// Warnings returns what mount and doctor should tell the user, oldest first.
func (b *Bucket) Warnings() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.warnings)
}

// warn adds a warning that was not given yet, and logs it: most come up when
// nobody is there that they could be returned to.
func (b *Bucket) warn(text string) {
	b.mu.Lock()
	known := slices.Contains(b.warnings, text)
	if !known {
		b.warnings = append(b.warnings, text)
	}
	b.mu.Unlock()
	if !known {
		b.log.Warn(text)
	}
}

// ReadOnly reports whether writing is refused, and why: by Options.ReadOnly, or
// since an object stayed wrongly encrypted that could not be removed without
// losing content.
func (b *Bucket) ReadOnly() (bool, string) {
	if b.opts.ReadOnly {
		return true, "mounted read-only"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.readOnly != "", b.readOnly
}

// failClosed refuses all writing from now on. The first reason stays.
func (b *Bucket) failClosed(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.readOnly == "" {
		b.readOnly = reason
	}
}

// writable refuses what a read-only bucket must not do, and creating requests
// before Probe has proven that the server encrypts.
func (b *Bucket) writable(op, key string) error {
	if ro, reason := b.ReadOnly(); ro {
		return &Error{Kind: ReadOnlyBucket, Op: op, Key: key, Err: errors.New(reason)}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.probed {
		return &Error{Kind: Misconfigured, Op: op, Key: key, Err: errors.New("the bucket was not probed")}
	}
	return checkKey(op, key, b.full(key))
}

// capabilities returns what Probe learned.
func (b *Bucket) capabilities() Capabilities {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.caps
}

// wanted returns what creating requests carry.
func (b *Bucket) wanted() sse {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sse
}

// expectation returns what answers must prove.
func (b *Bucket) expectation() expectation {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.expect
}

// full returns the key in the bucket for one that is relative to the prefix.
func (b *Bucket) full(key string) string { return b.opts.Prefix + key }

// onClose has f called by Close, the latest first.
func (b *Bucket) onClose(f func(context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closers = append(b.closers, f)
}

// Close waits for background work and frees what the bucket holds. When ctx
// ends first, what still runs is aborted; Close waits for that too.
func (b *Bucket) Close(ctx context.Context) error {
	abort := context.AfterFunc(ctx, b.cancel)
	defer abort()
	b.mu.Lock()
	closers := b.closers
	b.closers = nil
	b.mu.Unlock()
	var errs []error
	for _, f := range slices.Backward(closers) {
		errs = append(errs, f(ctx))
	}
	b.cancel()
	return errors.Join(errs...)
}

// maxKey is the longest key that S3 takes, in bytes.
const maxKey = 1024

func checkKey(op, key, full string) error {
	if len(full) > maxKey {
		return &Error{Kind: NameTooLong, Op: op, Key: key, Err: errors.New("S3 keys end at 1,024 bytes, the mount's prefix included")}
	}
	return nil
}
