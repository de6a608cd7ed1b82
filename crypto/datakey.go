package crypto

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// DataKey is a data key in locked memory outside of the collected heap. It is
// counted: who acquired it releases it, and the last one wipes it.
type DataKey struct {
	group string
	slot  slot
	refs  atomic.Int64 // 0: wiped
}

// Acquire takes a reference; false says that the key is wiped already.
func (d *DataKey) Acquire() bool {
	for {
		n := d.refs.Load()
		if n == 0 {
			return false
		}
		if d.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives a reference back. The last one wipes the key. It panics if
// there was none: the memory may be another key's by now.
func (d *DataKey) Release() {
	switch n := d.refs.Add(-1); {
	case n == 0:
		d.slot.free()
	case n < 0:
		panic("crypto: data key released too often")
	}
}

// Group returns the ARN of the KMS key that the data key is under.
func (d *DataKey) Group() string { return d.group }

// bytes is the key, for who holds a reference.
func (d *DataKey) bytes() []byte { return d.slot.bytes() }

// vault keeps data keys, many to a page: locked memory is scarce.
type vault struct {
	require bool              // fail where a page cannot be locked
	warn    func(text string) // called once, where that is tolerated
	size    int               // bytes of a page

	warning sync.Once

	mu       sync.Mutex // guards the fields below
	pages    []*vaultPage
	closed   bool  // no page stays longer than its keys
	unlocked error // why a page is not locked
}

// vaultPage is a page with room for many keys.
type vaultPage struct {
	*secret
	used []uint64 // a bit for every slot
	keys int      // slots in use
}

// slot is the place of one key.
type slot struct {
	v    *vault
	page *vaultPage
	n    int
}

func (s slot) bytes() []byte {
	return s.page.bytes()[s.n*dataKeySize : (s.n+1)*dataKeySize : (s.n+1)*dataKeySize]
}

const mlockRemedy = "raise RLIMIT_MEMLOCK (`ulimit -l`, or LimitMEMLOCK= of the systemd unit)"

// newVault returns a vault with one page, so that a system that does not lock
// memory is known at once.
func newVault(require bool, warn func(text string)) (*vault, error) {
	v := &vault{require: require, warn: warn, size: os.Getpagesize()}
	v.mu.Lock()
	_, err := v.roomLocked()
	v.mu.Unlock()
	v.tell()
	return v, err
}

// store copies key, of dataKeySize bytes, into the vault. The caller holds the
// one reference to the result.
func (v *vault) store(key []byte, group string) (*DataKey, error) {
	defer v.tell()
	v.mu.Lock()
	defer v.mu.Unlock()
	p, err := v.roomLocked()
	if err != nil {
		return nil, err
	}
	d := &DataKey{group: group, slot: slot{v, p, p.take()}}
	copy(d.bytes(), key)
	d.refs.Store(1)
	return d, nil
}

// tell warns of memory that is not locked.
func (v *vault) tell() {
	v.mu.Lock()
	err := v.unlocked
	v.mu.Unlock()
	if err != nil {
		v.warning.Do(func() { v.warn(fmt.Sprintf("data keys may be swapped to disk: %v; %s", err, mlockRemedy)) })
	}
}

// roomLocked returns a page that is not full.
func (v *vault) roomLocked() (*vaultPage, error) {
	slots := v.size / dataKeySize
	for _, p := range slices.Backward(v.pages) {
		if p.keys < slots {
			return p, nil
		}
	}
	s, err := newSecret(v.size)
	if err != nil {
		return nil, err
	}
	if s.unlocked != nil && v.require {
		s.wipe()
		return nil, fmt.Errorf("%w; %s", s.unlocked, mlockRemedy)
	}
	v.unlocked = cmp.Or(v.unlocked, s.unlocked)
	p := &vaultPage{secret: s, used: make([]uint64, slots/64)}
	v.pages = append(v.pages, p)
	return p, nil
}

// take marks a free slot of a page that is not full as used.
func (p *vaultPage) take() int {
	p.keys++
	i := slices.IndexFunc(p.used, func(w uint64) bool { return w != math.MaxUint64 })
	bit := bits.TrailingZeros64(^p.used[i])
	p.used[i] |= 1 << bit
	return i*64 + bit
}

// free wipes the key and gives its place back.
func (s slot) free() {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	clear(s.bytes())
	s.page.used[s.n/64] &^= 1 << (s.n % 64)
	s.page.keys--
	s.v.trimLocked()
}

// trimLocked unmaps pages without keys, but one while the vault is open, so
// that a key that comes and goes maps none each time.
func (v *vault) trimLocked() {
	spare := !v.closed
	v.pages = slices.DeleteFunc(v.pages, func(p *vaultPage) bool {
		if p.keys > 0 || spare {
			spare = spare && p.keys > 0
			return false
		}
		p.wipe()
		return true
	})
}

// close unmaps what holds no key, and each other page when its last key goes.
func (v *vault) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	v.trimLocked()
}
