package crypto

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// What one data key is used for in bucket-key mode, besides its time: far below
// what 256-bit derivation allows, and what one lost key can disclose.
const (
	maxMessages = 1 << 20
	maxSealed   = 1 << 40 // bytes
)

const (
	// graceWait is how long a message waits for a new data key while the old
	// one may still be used.
	graceWait = 5 * time.Second

	// retryPause is how long after a failure KMS is not asked again: for a new
	// key while the old one may be used, or where the right is missing.
	retryPause = 5 * time.Second
)

// writeKey is a data key that messages are sealed under, with all that their
// headers say of it.
type writeKey struct {
	id    [32]byte // in the cache
	key   *DataKey
	edks  []EDK
	pairs map[string]string
	born  time.Time
	share float64     // of its limits, from which on it is to be replaced
	idle  *time.Timer // ends it if nobody replaces it; set once it is current

	messages atomic.Int64
	bytes    atomic.Int64 // of plaintext, counted as frames are handed out
}

// refreshShare draws when to replace a key: mounts that began together should
// not come back together.
func refreshShare() float64 { return 0.75 + rand.Float64()/10 }

// take acquires the key for one more message, and returns how many took it
// before.
func (w *writeKey) take() (before int64, ok bool) {
	if !w.key.Acquire() {
		return 0, false
	}
	return w.messages.Add(1) - 1, true
}

// end gives up the reference that came with being the current key.
func (w *writeKey) end() {
	w.idle.Stop()
	w.key.Release()
}

// flight is the replacement of the current write key that is under way, for
// all who wait for it.
type flight struct {
	late  time.Time // when who can use the old key waits no more
	done  chan struct{}
	err   error     // set before done closes
	until time.Time // how long the failure stands
}

// wait returns how the flight ended. It gives up with ctx and, if impatient,
// when the flight is late.
func (f *flight) wait(ctx context.Context, now time.Time, impatient bool) error {
	select {
	case <-f.done:
		return f.err // also where it is late by now
	default:
	}
	var late <-chan time.Time
	if impatient {
		t := time.NewTimer(f.late.Sub(now))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-f.done:
		return f.err
	case <-late:
		return errLate
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errLate = fmt.Errorf("no answer within %v", graceWait)

// current returns the write key, taken for one message. One that is old or much
// used is replaced in the background; one that is too old is replaced first, or
// used on in its grace while KMS cannot be reached.
func (k *Keyring) current(ctx context.Context) (*writeKey, error) {
	for {
		graced := false
		w := k.write.Load()
		if w != nil {
			before, ok := w.take()
			if !ok {
				continue // replaced since
			}
			age := float64(k.now().Sub(w.born)) / float64(k.o.TTL)
			use := max(float64(before)/float64(k.maxMessages), float64(w.bytes.Load())/float64(k.maxSealed))
			if max(age, use) < 1 {
				if max(age, use) >= w.share {
					k.replace(w)
				}
				return w, nil
			}
			graced = use < 1 && age < 1+float64(k.o.Grace)/float64(k.o.TTL)
		}
		err := k.replace(w).wait(ctx, k.now(), graced)
		switch {
		case graced && errors.Is(err, errLate):
			k.unanswered(err) // the request still tries
			return w, nil
		case graced && Passing(err):
			return w, nil
		case w != nil:
			w.key.Release()
		}
		if err != nil {
			return nil, err
		}
	}
}

// landed is the flight of a key that is replaced already.
var landed = func() *flight {
	f := &flight{done: make(chan struct{})}
	close(f.done)
	return f
}()

// replace returns the flight that replaces old, which was the current write
// key, and begins it unless the latest one has failed just now.
func (k *Keyring) replace(old *writeKey) *flight {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	switch {
	case k.flight != nil:
		return k.flight
	case k.write.Load() != old:
		return landed
	case k.failed != nil && now.Before(k.failed.until):
		return k.failed
	}
	f := &flight{late: now.Add(graceWait), done: make(chan struct{})}
	if k.outage {
		f.late = now
	}
	k.flight = f
	k.running.Go(func() { k.fly(f) })
	return f
}

// fly makes the next write key. Nobody's cancellation ends it but Close.
func (k *Keyring) fly(f *flight) {
	w, err := k.generate(k.ctx, k.pairs(""))
	if err == nil {
		k.store(w)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	defer close(f.done)
	f.err = err
	flushed := k.flight != f
	switch {
	case flushed && err == nil:
		w.key.Release()
	case flushed:
	case err == nil:
		k.flight, k.failed = nil, nil
		k.installLocked(w)
	default:
		k.flight, k.failed = nil, f
		if AccessDenied(err) || Passing(err) && k.write.Load() != nil {
			f.until = k.now().Add(retryPause)
		}
	}
}

// installLocked makes w the current write key.
func (k *Keyring) installLocked(w *writeKey) {
	w.idle = time.AfterFunc(k.o.TTL+k.o.Grace, func() { k.retire(func(x *writeKey) bool { return x == w }) })
	k.spareLocked(w)
	if old := k.write.Swap(w); old != nil {
		old.end()
	}
}

// retire gives up the current write key if it is one of those.
func (k *Keyring) retire(those func(*writeKey) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.write.Load(); w != nil && those(w) {
		k.write.Store(nil)
		w.end()
	}
}
