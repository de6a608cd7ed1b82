package crypto

import (
	"context"
	"errors"
	"time"
)

// DefaultTTL is how long a data key is used before KMS is asked again: the
// delay with which a revoked key bites.
const DefaultTTL = 15 * time.Minute

// Scope says what the encryption context binds an object to.
type Scope uint8

// The scopes.
const (
	ScopeBucket Scope = iota // the bucket: objects can be renamed by copying
	ScopeObject              // the bucket and the object's key
)

// KeyCache keeps data keys by an id that names key, wrapped form and context.
// What Load returns is acquired for the caller, who releases it. What fetch
// returns is the cache's, which releases it. fetch must not be called twice at
// a time for one id, but may be called again long after Load returned; it may
// call Drop. Store acquires the key for the cache; the caller keeps his own.
type KeyCache interface {
	Load(ctx context.Context, id [32]byte, fetch func(context.Context) (*DataKey, error)) (*DataKey, error)
	Store(id [32]byte, key *DataKey)
	Drop(group string) // every key of the group: the ARN of the KMS key
	Flush()
}

// KeyringOptions says under which keys a Keyring seals, and what it opens.
type KeyringOptions struct {
	Keys    []Key    // resolved; the first makes data keys, all of them wrap those; none: nothing is sealed
	Allowed []string // ARNs of further KMS keys that objects may be under

	Scope   Scope
	Bucket  string            // ARN of the bucket that objects are bound to
	Accept  []string          // ARNs of further buckets that objects may be bound to
	Context map[string]string // user pairs

	AnyKey     bool // objects may be under any KMS key
	AnyContext bool // objects may be bound to anything

	WriteOnly    bool          // Decrypt is never called
	KeyPerObject bool          // a data key for every message
	TTL, Grace   time.Duration // as in DefaultTTL; Grace is how much longer while KMS cannot be reached, <0 none
	Cache        KeyCache      // nil: every Open asks KMS
	GrantTokens  []string
	RequireMlock bool

	// Rewrapped looks up the rewrap registry: another EDK of the same data key.
	Rewrapped func(ctx context.Context, old EDK) (EDK, bool, error)
	Warn      func(text string)
}

// Keyring makes and opens data keys. It is safe for concurrent use. Close it.
type Keyring struct{}

var errSkeleton = errors.New("skeleton")

// NewKeyring returns a Keyring whose client for a region is kms(region). It
// asks KMS nothing.
func NewKeyring(kms func(region string) KMS, o KeyringOptions) (*Keyring, error) {
	return nil, errSkeleton
}

// Check makes a data key and, unless the Keyring is write-only, has KMS open
// it: the checked key becomes the current write key.
func (k *Keyring) Check(ctx context.Context) error { return errSkeleton }

// Seal begins a message for the object of that key in the bucket.
func (k *Keyring) Seal(ctx context.Context, key string) (*Sealer, error) { return nil, errSkeleton }

// Open checks h's context and keys against what is accepted, before KMS is
// asked, and returns what opens the message of the object of that key.
func (k *Keyring) Open(ctx context.Context, h *Header, key string) (*Opener, error) {
	return nil, errSkeleton
}

// Flush forgets all data keys.
func (k *Keyring) Flush() {}

// Stats returns a copy of the counters.
func (k *Keyring) Stats() KeyStats { return KeyStats{} }

// Close ends what runs in the background and wipes all keys.
func (k *Keyring) Close() {}

// KeyStats counts what a Keyring asked of KMS and what it did not have to.
type KeyStats struct {
	Calls  map[string]int64 // by operation, such as "Decrypt"; the SDK's retries are not counted
	Failed int64            // calls that brought an error
	Saved  int64            // requests that KMS would have had with a data key per object and no cache

	Sealed, Opened int64 // messages begun, messages opened
	Outage         bool  // KMS did not answer the latest call
}
