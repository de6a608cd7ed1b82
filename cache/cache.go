package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

// Options bounds a Cache.
type Options[V any] struct {
	MaxCost int64         // of all values together, in the unit of Cost
	Cost    func(V) int64 // nil: 1 for each
	Entries int64         // how many values to expect; 0 is MaxCost
	TTL     time.Duration // how long a value is kept; 0 is until there is no room
}

// Cache keeps values by key. It is safe for concurrent use.
type Cache[V any] struct {
	// Constant.
	options Options[V]
	entries *ristretto.Cache[string, entry[V]]
	ctx     context.Context // ends at Close, and the loads under way with it
	cancel  context.CancelFunc

	running sync.WaitGroup // loads under way

	mu    sync.Mutex // guards loads, and is held over changes of entries
	loads map[string]*load[V]
}

// entry is a value with its whole key.
type entry[V any] struct {
	key   string
	value V
}

// load is a call that fetches one value. The result is set before done closes.
type load[V any] struct {
	done  chan struct{}
	value V
	err   error
}

// New returns an empty Cache. Close it.
func New[V any](o Options[V]) (*Cache[V], error) {
	switch {
	case o.MaxCost <= 0:
		return nil, errors.New("new cache: MaxCost must be positive")
	case o.Entries < 0 || o.TTL < 0:
		return nil, errors.New("new cache: Entries and TTL must not be negative")
	}
	if o.Cost == nil {
		o.Cost = func(V) int64 { return 1 }
	}
	if o.Entries == 0 {
		o.Entries = o.MaxCost
	}
	entries, err := ristretto.NewCache(&ristretto.Config[string, entry[V]]{
		NumCounters:        10 * o.Entries, // as ristretto recommends
		MaxCost:            o.MaxCost,
		BufferItems:        64, // as ristretto recommends
		IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, fmt.Errorf("new cache of cost %d: %w", o.MaxCost, err)
	}
	c := &Cache[V]{options: o, entries: entries, loads: make(map[string]*load[V])}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Lookup returns the value of key, and whether there is one.
func (c *Cache[V]) Lookup(key string) (V, bool) {
	e, ok := c.entries.Get(key)
	if !ok || e.key != key {
		var none V
		return none, false
	}
	return e.value, true
}

// Store keeps value under key, if there is room for it, and forgets what was
// there in any case. A load of the key that is under way is not kept.
func (c *Cache[V]) Store(key string, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.loads, key)
	c.storeLocked(key, value)
}

func (c *Cache[V]) storeLocked(key string, value V) {
	c.entries.Del(key)
	cost := max(1, c.options.Cost(value)) // 0 would mean something else to ristretto
	c.entries.SetWithTTL(key, entry[V]{key, value}, cost, c.options.TTL)
	c.entries.Wait()
}

// Delete forgets key. A load of it that is under way is not kept, and not
// joined by later callers of Load.
func (c *Cache[V]) Delete(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.loads, key)
	c.entries.Del(key)
}

// Load returns the value of key, and calls fetch for it on a miss. Callers that
// miss at the same time share one call. fetch gets ctx's values but not its
// end: who gives up leaves the others waiting undisturbed, so fetch must bound
// its own time. Errors go to all who wait and are not kept.
func (c *Cache[V]) Load(ctx context.Context, key string, fetch func(context.Context) (V, error)) (V, error) {
	if v, ok := c.Lookup(key); ok {
		return v, nil
	}
	l := c.join(ctx, key, fetch)
	select {
	case <-l.done:
		return l.value, l.err
	case <-ctx.Done():
		var none V
		return none, context.Cause(ctx)
	}
}

// join returns the load of key that is under way, or begins one.
func (c *Cache[V]) join(ctx context.Context, key string, fetch func(context.Context) (V, error)) *load[V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l, ok := c.loads[key]; ok {
		return l
	}
	l := &load[V]{done: make(chan struct{})}
	if v, ok := c.Lookup(key); ok { // loaded since the caller's miss
		l.value = v
		close(l.done)
		return l
	}
	c.loads[key] = l
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(c.ctx, cancel)
	c.running.Go(func() {
		defer cancel()
		defer stop()
		l.value, l.err = fetch(ctx)
		c.finish(key, l)
	})
	return l
}

// finish keeps what l brought, unless the key was changed meanwhile, and hands
// it to those who wait.
func (c *Cache[V]) finish(key string, l *load[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loads[key] == l {
		delete(c.loads, key)
		if l.err == nil {
			c.storeLocked(key, l.value)
		}
	}
	close(l.done)
}

// Close cancels the loads under way, waits for them, and forgets everything.
// No other call may run at the same time or come later.
func (c *Cache[V]) Close() {
	c.cancel()
	c.running.Wait()
	c.entries.Close()
}
