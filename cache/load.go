package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// load is a call of fetch, and those who wait for it.
type load[V Shared] struct {
	// Constant.
	ctx     context.Context // of who began it
	id      [32]byte
	fetch   func(context.Context) (V, error)
	refresh bool
	brief   bool          // a value that is there may serve on if fetch takes too long
	done    chan struct{} // closes with value and err set: value acquired for each who waits

	// Guarded by Cache.mu until done closes.
	value   V
	err     error
	waiting int      // callers of Load
	stale   bool     // id was stored or everything flushed: the outcome is void
	dropped []string // groups that were dropped meanwhile
}

// refreshAfter is the age at which a value is fetched ahead of need: about
// 80 % of ttl, scattered so that what was loaded together is not refreshed so.
func refreshAfter(ttl time.Duration) time.Duration {
	return ttl*3/4 + time.Duration(rand.Int64N(int64(ttl/10)+1))
}

// startLocked has a worker run l, now or when one is free.
func (c *Cache[V]) startLocked(l *load[V]) {
	l.done = make(chan struct{})
	c.loads[l.id] = l
	if c.workers == maxWorkers {
		c.queue = append(c.queue, l)
		return
	}
	c.workers++
	c.running.Go(func() {
		for l := l; l != nil; l = c.next() {
			c.run(l)
		}
	})
}

// next returns the load that waits longest, or nil: then the worker ends.
func (c *Cache[V]) next() *load[V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		c.workers--
		return nil
	}
	l := c.queue[0]
	c.queue = slices.Delete(c.queue, 0, 1)
	return l
}

// leave takes a caller away that waited for l. A load that has not begun and
// that nobody waits for is forgotten.
func (c *Cache[V]) leave(l *load[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-l.done: // just now
		if l.err == nil && !l.stale {
			l.value.Release()
		}
		return
	default:
	}
	l.waiting--
	if i := slices.Index(c.queue, l); i >= 0 && l.waiting == 0 {
		c.queue = slices.Delete(c.queue, i, i+1)
		delete(c.loads, l.id)
	}
}

// run fetches l's value.
func (c *Cache[V]) run(l *load[V]) {
	var v V
	err := context.Cause(c.ctx)
	if err == nil {
		c.count(l)
		ctx, cancel := context.WithCancelCause(context.WithoutCancel(l.ctx))
		stop := context.AfterFunc(c.ctx, func() { cancel(ErrClosed) })
		if l.brief {
			var end func()
			ctx, end = context.WithTimeout(ctx, c.o.patience)
			defer end()
		}
		v, err = l.fetch(ctx)
		stop()
		cancel(nil)
	}
	v, warning, err := c.settle(l, v, err)
	if warning != "" {
		c.o.Warn(warning)
	}
	c.hand(l, v, err)
}

func (c *Cache[V]) count(l *load[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.refresh {
		c.stats.Refreshes++
	} else {
		c.stats.Loads++
	}
}

// settle keeps what l brought, or acts upon its error. What it returns is for
// those who wait: a value that is acquired once, or an error.
func (c *Cache[V]) settle(l *load[V], v V, err error) (_ V, warning string, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.keepLocked(l, v)
	} else if !l.stale && !c.closed {
		v, warning, err = c.failLocked(l.id, err)
	}
	return v, warning, err
}

// hand gives v, of which it is a holder, or err to those who wait.
func (c *Cache[V]) hand(l *load[V], v V, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.loads, l.id)
	l.value, l.err = v, err
	if err == nil && !l.stale {
		for range l.waiting {
			v.Acquire() // cannot fail: it is released below
		}
	}
	close(l.done) // only now: who waits may be the last to release
	if err == nil {
		v.Release()
	}
}

// keepLocked keeps v unless something was done meanwhile that it is older than.
func (c *Cache[V]) keepLocked(l *load[V], v V) {
	if l.stale || c.closed || slices.Contains(l.dropped, v.Group()) {
		return
	}
	c.storeLocked(l.id, v)
}

// failLocked acts upon an error of fetch. In an outage it returns the value
// that is there, acquired, and no error while the grace lasts.
func (c *Cache[V]) failLocked(id [32]byte, err error) (v V, warning string, _ error) {
	now := c.o.Now()
	e := c.shelf.get(id)
	if e != nil {
		e.due = now.Add(retryAfter)
	}
	switch {
	case c.o.Denied(err):
		if e != nil {
			c.dropLocked(e.group)
		}
		c.rememberLocked(id, denial{err, now.Add(denialMemory)})
	case c.o.Passing(err) && e != nil && now.Sub(e.loaded) < c.o.TTL+c.o.Grace:
		if _, known := c.outages[e.group]; !known && c.o.Grace > 0 {
			warning = fmt.Sprintf("keys under %s cannot be fetched again: %v; those at hand serve for up to %v beyond their time", e.group, err, c.o.Grace)
		}
		c.outages[e.group] = now
		if c.goodLocked(e, now) && e.value.Acquire() {
			return e.value, warning, nil
		}
	}
	return v, warning, err
}

// rememberLocked makes room if it must: a denial that is forgotten early costs
// a request.
func (c *Cache[V]) rememberLocked(id [32]byte, d denial) {
	if len(c.denials) >= maxDenials {
		c.forgiveLocked(c.o.Now())
	}
	for other := range c.denials {
		if len(c.denials) < maxDenials {
			break
		}
		delete(c.denials, other)
	}
	c.denials[id] = d
}
