package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Shared is a secret that several may hold at a time. Acquire adds a holder; it
// is false when the last one has gone, and the secret with it. Release takes a
// holder away, and the last one wipes the secret; it must not call the Cache.
// Group names what is dropped together, and must not change.
type Shared interface {
	Acquire() bool
	Release()
	Group() string
}

// Defaults of Options.
const (
	DefaultTTL        = 15 * time.Minute
	DefaultMaxEntries = 4096
)

// Options say how long values are kept, and what errors mean. The functions
// must not call the Cache.
type Options struct {
	TTL        time.Duration // how long a value is used before it is fetched again; 0 is DefaultTTL
	Grace      time.Duration // how much longer while fetching fails by an outage; 0 is none
	MaxEntries int           // at most; make it several times the number that is expected; 0 is DefaultMaxEntries

	Passing func(error) bool  // whether a fetch failed by an outage; nil: never
	Denied  func(error) bool  // whether it failed because the value may not be used any more; nil: never
	Warn    func(text string) // called once per outage of a group whose values are kept; nil: nobody is told

	Now func() time.Time // nil: time.Now

	patience time.Duration                 // with a fetch while there is a value; 0 is 10 seconds. Tests have less
	hash     func(string) (uint64, uint64) // of ids; nil: ristretto's own. Tests make ids collide
}

// ErrClosed is returned by Load after Close.
var ErrClosed = errors.New("the key cache is closed")

// Stats counts since New. Held is a gauge.
type Stats struct {
	Hits, Misses int64 // of Load: answered at once, and not
	Loads        int64 // fetches that a caller waited for
	Refreshes    int64 // fetches ahead of need
	Held         int64 // values in the cache now
}

// Cache keeps secrets by id and fetches what it has not. It is safe for
// concurrent use. Close it.
type Cache[V Shared] struct {
	// Constant.
	o      Options
	ctx    context.Context // ends at Close, and the fetches under way with it
	cancel context.CancelCauseFunc

	running sync.WaitGroup // workers, and the one that sweeps

	mu      sync.Mutex // guards what follows; never held over fetch or Warn
	shelf   shelf[V]
	loads   map[[32]byte]*load[V] // under way or queued
	queue   []*load[V]            // wait for a worker
	workers int
	denials map[[32]byte]denial
	outages map[string]time.Time // by group: when a fetch failed last
	stats   Stats
	closed  bool
}

// denial is an error that is answered without asking again.
type denial struct {
	err   error
	until time.Time
}

const (
	maxWorkers   = 64              // fetches at a time
	maxDenials   = 1024            // remembered at a time
	denialMemory = 5 * time.Second // how long a denial is remembered
	retryAfter   = 5 * time.Second // from a failed refresh to the next one
	// outageMemory is how long a failure vouches for an outage. In that time
	// values past their TTL are handed out at once and tried in the
	// background; later, who asks first waits for the answer.
	outageMemory = time.Minute
)

// New returns an empty Cache.
func New[V Shared](o Options) (*Cache[V], error) {
	if o.TTL < 0 || o.Grace < 0 || o.MaxEntries < 0 {
		return nil, fmt.Errorf("new key cache: TTL %v, Grace %v and MaxEntries %d must not be negative", o.TTL, o.Grace, o.MaxEntries)
	}
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	if o.patience == 0 {
		o.patience = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	never := func(error) bool { return false }
	if o.Passing == nil {
		o.Passing = never
	}
	if o.Denied == nil {
		o.Denied = never
	}
	c := &Cache[V]{o: o, loads: make(map[[32]byte]*load[V]), denials: make(map[[32]byte]denial), outages: make(map[string]time.Time)}
	if err := c.shelf.open(o.MaxEntries, o.hash); err != nil {
		return nil, fmt.Errorf("new key cache of %d entries: %w", o.MaxEntries, err)
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.running.Go(c.sweeps)
	return c, nil
}

// Load returns the value of id, acquired for the caller, who releases it. What
// is not there, or too old, comes from fetch: callers that miss at the same
// time share one call. fetch returns a value with one holder, which the Cache
// becomes. It gets ctx's values but not its end, so that who gives up leaves
// the others undisturbed, and must bound its own time. It may call Drop, and
// not Load, Flush or Close. Errors are those of fetch, context.Cause(ctx) and
// ErrClosed.
func (c *Cache[V]) Load(ctx context.Context, id [32]byte, fetch func(context.Context) (V, error)) (V, error) {
	for {
		v, l, err := c.begin(ctx, id, fetch)
		if l == nil {
			return v, err
		}
		select {
		case <-l.done:
			if !l.stale {
				return l.value, l.err
			}
		case <-ctx.Done():
			c.leave(l)
			return v, context.Cause(ctx)
		}
	}
}

// begin returns a value or an error, or else the load to wait for, which the
// caller has joined.
func (c *Cache[V]) begin(ctx context.Context, id [32]byte, fetch func(context.Context) (V, error)) (v V, l *load[V], err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return v, nil, ErrClosed
	}
	now := c.o.Now()
	e := c.shelf.get(id)
	if e != nil && c.goodLocked(e, now) && e.value.Acquire() {
		c.stats.Hits++
		if c.dueLocked(e, now) {
			c.startLocked(&load[V]{ctx: ctx, id: id, fetch: fetch, refresh: true, brief: true})
		}
		return e.value, nil, nil
	}
	c.stats.Misses++
	if d, ok := c.denials[id]; ok && now.Before(d.until) {
		return v, nil, d.err
	}
	l = c.loads[id]
	if l == nil {
		l = &load[V]{ctx: ctx, id: id, fetch: fetch, brief: e != nil && now.Sub(e.loaded) < c.o.TTL+c.o.Grace}
		c.startLocked(l)
	}
	l.waiting++
	return v, l, nil
}

// goodLocked reports whether e can be handed out: within its time, or within
// the grace if there is an outage.
func (c *Cache[V]) goodLocked(e *entry[V], now time.Time) bool {
	age := now.Sub(e.loaded)
	failed, out := c.outages[e.group]
	return age < c.o.TTL || age < c.o.TTL+c.o.Grace && out && now.Sub(failed) < outageMemory
}

// dueLocked reports whether e is to be fetched ahead of need now. In an outage
// one of its group is tried at a time.
func (c *Cache[V]) dueLocked(e *entry[V], now time.Time) bool {
	failed, out := c.outages[e.group]
	return !now.Before(e.due) && c.loads[e.id] == nil && c.workers < maxWorkers &&
		(!out || now.Sub(failed) >= retryAfter)
}

// Store keeps v under id instead of what was there, and becomes one more of its
// holders. A load of id that is under way is not kept.
func (c *Cache[V]) Store(id [32]byte, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if l := c.loads[id]; l != nil {
		l.stale = true
	}
	c.storeLocked(id, v)
}

func (c *Cache[V]) storeLocked(id [32]byte, v V) {
	delete(c.denials, id)
	delete(c.outages, v.Group())
	now := c.o.Now()
	c.shelf.put(id, v, now, now.Add(refreshAfter(c.o.TTL)))
}

// Drop forgets every value of group. Loads under way are handed to those who
// wait, and not kept.
func (c *Cache[V]) Drop(group string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.dropLocked(group)
	}
}

func (c *Cache[V]) dropLocked(group string) {
	for _, l := range c.loads {
		l.dropped = append(l.dropped, group)
	}
	c.shelf.removeAll(func(e *entry[V]) bool { return e.group == group })
}

// Flush forgets everything: no Load that returns later has what was fetched
// before.
func (c *Cache[V]) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	for _, l := range c.loads {
		l.stale = true
	}
	clear(c.denials)
	clear(c.outages)
	c.shelf.clear()
}

// Stats returns a copy of the counters.
func (c *Cache[V]) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Held = c.shelf.held.Load()
	return s
}

// Close cancels the fetches under way, waits for them, and forgets everything.
// Load fails from now on, and the other methods do nothing.
func (c *Cache[V]) Close() {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	c.cancel(ErrClosed)
	c.running.Wait()
	if !again {
		c.shelf.close() // nobody uses it after the flag was set
	}
}

// sweeps wipes what nobody uses any more, now and then until Close.
func (c *Cache[V]) sweeps() {
	tick := time.NewTicker(min(max(c.o.TTL/16, time.Second), time.Minute))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.sweep()
		case <-c.ctx.Done():
			return
		}
	}
}

// sweep forgets what cannot be handed out again.
func (c *Cache[V]) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.o.Now()
	c.shelf.removeAll(func(e *entry[V]) bool { return now.Sub(e.loaded) >= c.o.TTL+c.o.Grace })
	c.forgiveLocked(now)
}

// forgiveLocked forgets denials whose time is over.
func (c *Cache[V]) forgiveLocked(now time.Time) {
	for id, d := range c.denials {
		if !now.Before(d.until) {
			delete(c.denials, id)
		}
	}
}
