package fs

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// gate is a readers-writer lock that may be held over I/O, because a wait for
// it ends with a context. It is fair: a waiting lock holds back later shares.
type gate struct{ sem *semaphore.Weighted }

// gateWidth bounds how many can share a gate.
const gateWidth = 1 << 30

func newGate() gate { return gate{semaphore.NewWeighted(gateWidth)} }

func (g gate) share(ctx context.Context) error { return g.acquire(ctx, 1) }
func (g gate) lock(ctx context.Context) error  { return g.acquire(ctx, gateWidth) }
func (g gate) unshare()                        { g.sem.Release(1) }
func (g gate) unlock()                         { g.sem.Release(gateWidth) }

// acquire looks before it waits: asking a context for Done has a price here
// (see patience).
func (g gate) acquire(ctx context.Context, n int64) error {
	if g.sem.TryAcquire(n) {
		return nil
	}
	if err := g.sem.Acquire(ctx, n); err != nil {
		return context.Cause(ctx)
	}
	return nil
}
