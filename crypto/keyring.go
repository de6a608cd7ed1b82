package crypto

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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
	Reserve      bool          // the newest data key is kept for SealReserve, however old it gets
	TTL, Grace   time.Duration // as in DefaultTTL; Grace is how much longer while KMS cannot be reached, <0 none
	Cache        KeyCache      // nil: every Open asks KMS
	GrantTokens  []string
	RequireMlock bool

	// Rewrapped looks up the rewrap registry: another EDK of the same data key.
	Rewrapped func(ctx context.Context, old EDK) (EDK, bool, error)
	Warn      func(text string)
}

// Keyring makes and opens data keys. It is safe for concurrent use. Close it.
type Keyring struct {
	// Constant.
	o         KeyringOptions // normalised
	accepted  []string       // ARNs of the KMS keys that objects may be under
	partition [16]byte       // keeps its entries in the cache apart from other Keyrings'
	kms       func(region string) KMS
	vault     *vault
	ctx       context.Context // ends with Close, and all requests with it
	cancel    context.CancelFunc

	// Constant but in tests.
	now                    func() time.Time
	maxMessages, maxSealed int64

	running sync.WaitGroup           // calls, and replacements of the write key
	write   atomic.Pointer[writeKey] // current; set under mu

	sealed, opened atomic.Int64

	mu     sync.Mutex // guards the fields below; never held over I/O
	closed bool
	spare  *writeKey // for SealReserve; nil before the first key, and after Flush
	flight *flight   // that replaces the write key
	failed *flight   // the latest, if it failed
	calls  map[string]int64
	errors int64     // calls that brought one
	outage bool      // KMS does not answer
	warned time.Time // when that was warned of
}

// NewKeyring returns a Keyring whose client for a region is kms(region), called
// for each request. It asks KMS nothing.
func NewKeyring(kms func(region string) KMS, o KeyringOptions) (*Keyring, error) {
	if o.TTL < 0 || o.Bucket == "" && !o.AnyContext {
		return nil, fmt.Errorf("new keyring: bucket %q, TTL %v", o.Bucket, o.TTL)
	}
	if err := checkPairs(o.Context); err != nil {
		return nil, err
	}
	o.TTL = cmp.Or(o.TTL, DefaultTTL)
	o.Grace = max(0, cmp.Or(o.Grace, DefaultTTL))
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	k := &Keyring{o: o, kms: kms, now: time.Now, maxMessages: maxMessages, maxSealed: maxSealed,
		calls: map[string]int64{}}
	for _, key := range o.Keys {
		k.accepted = append(k.accepted, key.ARN)
	}
	k.accepted = append(k.accepted, o.Allowed...)
	for _, arn := range k.accepted {
		if err := checkKeyARN(arn); err != nil {
			return nil, err
		}
	}
	rand.Read(k.partition[:]) // never fails
	var err error
	if k.vault, err = newVault(o.RequireMlock, o.Warn); err != nil {
		return nil, fmt.Errorf("memory for data keys: %w", err)
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k, nil
}

// enter begins a call, which ends with running.Done.
func (k *Keyring) enter() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return errKeyringClosed
	}
	k.running.Add(1)
	return nil
}

var errKeyringClosed = errors.New("the keyring is closed")

// perObject reports whether every message has a data key of its own.
func (k *Keyring) perObject() bool { return k.o.KeyPerObject || k.o.Scope == ScopeObject }

// probeKey is the object that Check binds a data key to, where keys are bound
// to objects.
const probeKey = ".kmsfs/probe"

// Check makes a data key and, unless the Keyring is write-only, has KMS open
// it: the checked key becomes the current write key. It also finds out whether
// headers have room for all that they must say. Without Keys it does nothing.
func (k *Keyring) Check(ctx context.Context) error {
	if len(k.o.Keys) == 0 {
		return nil
	}
	if err := k.enter(); err != nil {
		return err
	}
	defer k.running.Done()
	w, err := k.generate(ctx, k.pairs(probeKey))
	if err != nil {
		return err
	}
	if err = k.prove(ctx, w); err != nil {
		w.key.Release()
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.perObject() {
		k.spareLocked(w)
		w.key.Release()
		return nil
	}
	k.store(w)
	k.installLocked(w)
	return nil
}

// prove has KMS open w, and builds a header with it.
func (k *Keyring) prove(ctx context.Context, w *writeKey) error {
	if _, err := newSealer(w.key.bytes(), w.pairs, w.edks); err != nil {
		return err
	}
	if k.o.WriteOnly {
		return nil
	}
	arn := w.key.Group()
	key, err := k.decrypt(ctx, arn, w.edks[0].Blob, w.pairs)
	var denied *KeyError
	if errors.As(err, &denied) && denied.Reason == Denied {
		denied.Remedy += "; a host that needs not read can do without: --write-only"
	}
	if err != nil {
		return err
	}
	defer key.Release()
	if subtle.ConstantTimeCompare(key.bytes(), w.key.bytes()) != 1 {
		return &KeyError{ID: arn, Reason: Mismatch, Detail: "does not open what it wrapped", Remedy: "check the KMS endpoint"}
	}
	return nil
}

// Seal begins a message for the object of that key in the bucket.
func (k *Keyring) Seal(ctx context.Context, key string) (*Sealer, error) {
	if err := k.enter(); err != nil {
		return nil, err
	}
	defer k.running.Done()
	w, err := k.writeKey(ctx, key)
	if err != nil {
		return nil, err
	}
	defer w.key.Release()
	s, err := newSealer(w.key.bytes(), w.pairs, w.edks)
	if err != nil {
		return nil, err
	}
	s.meter = &w.bytes
	k.sealed.Add(1)
	return s, nil
}

// writeKey returns the data key for a message. The caller releases its key.
func (k *Keyring) writeKey(ctx context.Context, key string) (*writeKey, error) {
	switch {
	case len(k.o.Keys) == 0:
		return nil, errors.New("no KMS key to seal under; give --envelope-key-id")
	case !k.perObject():
		w, err := k.current(ctx)
		return w, asKeyError(k.o.Keys[0].ARN, "was not waited for", err)
	}
	w, err := k.generate(ctx, k.pairs(key))
	if err == nil {
		k.store(w)
	}
	return w, err
}

// store keeps w for reading: what was written here needs no Decrypt.
func (k *Keyring) store(w *writeKey) {
	if k.o.Cache != nil {
		k.o.Cache.Store(w.id, w.key)
	}
}

// Open checks h's context and keys against what is accepted, before KMS is
// asked, and returns what opens the message of the object of that key.
func (k *Keyring) Open(ctx context.Context, h *Header, key string) (*Opener, error) {
	if err := k.enter(); err != nil {
		return nil, err
	}
	defer k.running.Done()
	if err := k.checkContext(h, key); err != nil {
		return nil, err
	}
	dk, err := k.dataKey(ctx, h)
	if err != nil {
		return nil, asKeyError(h.key(), "was not waited for", err)
	}
	defer dk.Release()
	o, err := newOpener(dk.bytes(), h)
	if err != nil {
		return nil, err
	}
	o.under = dk.Group()
	k.opened.Add(1)
	return o, nil
}

// Flush forgets all data keys.
func (k *Keyring) Flush() {
	k.mu.Lock()
	k.flight, k.failed = nil, nil // what is under way is not kept
	k.spareLocked(nil)
	k.mu.Unlock()
	k.retire(func(*writeKey) bool { return true })
	if k.o.Cache != nil {
		k.o.Cache.Flush()
	}
}

// Close ends what runs in the background and wipes all keys, but those that a
// cache holds beyond its Flush.
func (k *Keyring) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.cancel()
	k.running.Wait()
	k.Flush()
	k.vault.close()
}
