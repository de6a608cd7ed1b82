package s3io

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// errClosed is the cause of everything that Bucket.Close cut short.
var errClosed = errors.New("bucket was closed")

// deadlineError is the cause of a context whose operation ran out of patience.
type deadlineError struct {
	patience time.Duration
	last     error // what the latest attempt came to; nil if none ended
}

func (e *deadlineError) Error() string {
	s := fmt.Sprintf("no progress for %v", e.patience)
	if e.last != nil {
		s += fmt.Sprintf(" (latest attempt: %v)", e.last)
	}
	return s
}

func (e *deadlineError) Unwrap() error { return e.last }

// Timeout tells net's callers what it is.
func (e *deadlineError) Timeout() bool { return true }

// deadline ends the context of one operation, with all its attempts, when it
// made no progress for a while. Progress is a byte of the body that no earlier
// attempt had sent, so that resending for ever is none.
type deadline struct {
	patience time.Duration
	cancel   context.CancelCauseFunc
	detach   func() bool // from the bucket's own context

	mu    sync.Mutex // guards the fields below
	timer *time.Timer
	high  int64 // bytes that the best attempt sent
	last  error
}

type deadlineKey struct{}

// withDeadline returns a context that ends with ctx, with own (the bucket's),
// or after patience without progress. Call stop when the operation is done.
func withDeadline(ctx, own context.Context, patience time.Duration) (context.Context, *deadline) {
	ctx, cancel := context.WithCancelCause(ctx)
	d := &deadline{patience: patience, cancel: cancel}
	d.detach = context.AfterFunc(own, func() { cancel(errClosed) })
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer = time.AfterFunc(patience, d.expire)
	return context.WithValue(ctx, deadlineKey{}, d), d
}

// deadlineOf returns the deadline that ctx carries; nil if none.
func deadlineOf(ctx context.Context) *deadline {
	d, _ := ctx.Value(deadlineKey{}).(*deadline)
	return d
}

func (d *deadline) expire() {
	d.mu.Lock()
	err := &deadlineError{patience: d.patience, last: d.last}
	d.mu.Unlock()
	d.cancel(err)
}

// sent notes that an attempt has sent n bytes of its body by now.
func (d *deadline) sent(n int64) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n > d.high {
		d.high = n
		d.timer.Reset(d.patience)
	}
}

// failed notes what an attempt came to, for the message at the end.
func (d *deadline) failed(err error) {
	if d == nil || errors.Is(err, context.Canceled) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = err
}

// disarm lets the operation last, as the body of a GET does once it comes.
func (d *deadline) disarm() { d.timer.Stop() }

// stop ends the operation and frees what the deadline holds.
func (d *deadline) stop() {
	d.timer.Stop()
	d.detach()
	d.cancel(nil)
}

// reading returns the context of a lookup or read, which its caller may cancel.
func (b *Bucket) reading(ctx context.Context) (context.Context, *deadline) {
	return withDeadline(ctx, b.ctx, b.lookup)
}

// committing returns the context of a request that changes something. Its
// caller's interrupts do not tear it half-way: only the deadline and Close do.
func (b *Bucket) committing(ctx context.Context) (context.Context, *deadline) {
	return withDeadline(context.WithoutCancel(ctx), b.ctx, b.commit)
}

// pause waits for the n-th retry, counted from 0, or until ctx ends.
func pause(ctx context.Context, n int) error {
	timer := time.NewTimer(backoff(n))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
