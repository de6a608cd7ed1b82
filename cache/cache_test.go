package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func newCache(t *testing.T, o Options[string]) *Cache[string] {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func length(s string) int64 { return int64(len(s)) }

func TestNewRefusesWhatIsNoBound(t *testing.T) {
	for _, o := range []Options[string]{{}, {MaxCost: -1}, {MaxCost: 1, TTL: -1}, {MaxCost: 1, Entries: -1}} {
		if c, err := New(o); err == nil {
			c.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
}

// TestLookupReturnsTheLatestOrNothing compares a cache that is too small for
// its keys with a map.
func TestLookupReturnsTheLatestOrNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, err := New(Options[string]{MaxCost: 40, Cost: length})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		model := make(map[string]string)
		key := rapid.Custom(func(t *rapid.T) string { return fmt.Sprint("key", rapid.IntRange(0, 20).Draw(t, "n")) })
		t.Repeat(map[string]func(*rapid.T){
			"store": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), rapid.StringN(0, 10, 10).Draw(t, "value")
				c.Store(k, v)
				model[k] = v
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				c.Delete(k)
				delete(model, k)
			},
			"load": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), rapid.StringN(0, 10, 10).Draw(t, "value")
				got, err := c.Load(context.Background(), k, func(context.Context) (string, error) {
					model[k] = v
					return v, nil
				})
				if err != nil || got != model[k] {
					t.Fatalf("Load(%s) = %q, %v, want %q", k, got, err, model[k])
				}
			},
			"": func(t *rapid.T) {
				cost := int64(0)
				for n := range 21 {
					k := fmt.Sprint("key", n)
					got, ok := c.Lookup(k)
					want, stored := model[k]
					if ok && (!stored || got != want) {
						t.Fatalf("Lookup(%s) = %q, stored was %q (%v)", k, got, want, stored)
					}
					if ok {
						cost += max(1, length(got))
					}
				}
				if cost > 40 {
					t.Fatalf("values of cost %d are kept, of 40", cost)
				}
			},
		})
	})
}

// TestStoreOverwritesAtOnce would fail with ristretto's Set alone, which loses
// the second of two in a row.
func TestStoreOverwritesAtOnce(t *testing.T) {
	c := newCache(t, Options[string]{MaxCost: 1000})
	for i := range 500 {
		key := fmt.Sprint(i)
		c.Store(key, "old")
		c.Store(key, "new")
		if got, ok := c.Lookup(key); !ok || got != "new" {
			t.Fatalf("Lookup(%s) = %q, %v", key, got, ok)
		}
	}
}

func TestValuesKeepTheirCost(t *testing.T) {
	c := newCache(t, Options[string]{MaxCost: 100, Cost: length, Entries: 10})
	c.Store("small", "x")
	c.Store("large", strings.Repeat("x", 101))
	if _, ok := c.Lookup("large"); ok {
		t.Error("a value above the whole bound is kept")
	}
	c.Store("small", strings.Repeat("y", 101))
	if v, ok := c.Lookup("small"); ok {
		t.Errorf("%q is kept after a Store that had no room", v)
	}
}

func TestValuesExpire(t *testing.T) {
	c := newCache(t, Options[string]{MaxCost: 10, TTL: time.Nanosecond})
	c.Store("k", "v")
	if v, ok := c.Lookup("k"); ok {
		t.Errorf("%q is kept beyond its time", v)
	}
	c = newCache(t, Options[string]{MaxCost: 10, TTL: time.Hour})
	c.Store("k", "v")
	if _, ok := c.Lookup("k"); !ok {
		t.Error("a value expired within its time")
	}
}

// TestConcurrentMissesLoadOnce lets 64 goroutines miss together: one load
// serves them all, also those who come after one has given up.
func TestConcurrentMissesLoadOnce(t *testing.T) {
	c := newCache(t, Options[string]{MaxCost: 10})
	var loads atomic.Int64
	begun, release := make(chan struct{}), make(chan struct{})
	fetch := func(ctx context.Context) (string, error) {
		loads.Add(1)
		close(begun)
		<-release
		return "v", ctx.Err()
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	first := make(chan error)
	go func() {
		_, err := c.Load(ctx, "k", fetch)
		first <- err
	}()
	<-begun
	cancel(gone)
	if err := <-first; !errors.Is(err, gone) {
		t.Errorf("who went away got %v", err)
	}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if v, err := c.Load(t.Context(), "k", fetch); v != "v" || err != nil {
				t.Errorf("Load = %q, %v", v, err)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads", n)
	}
}

func TestErrorsAreNotKept(t *testing.T) {
	c := newCache(t, Options[string]{MaxCost: 10})
	broken := errors.New("broken")
	if _, err := c.Load(t.Context(), "k", func(context.Context) (string, error) { return "half", broken }); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	if v, ok := c.Lookup("k"); ok {
		t.Errorf("%q is kept", v)
	}
	v, err := c.Load(t.Context(), "k", func(context.Context) (string, error) { return "v", nil })
	if v != "v" || err != nil {
		t.Errorf("second Load = %q, %v", v, err)
	}
}

// TestLoadsDoNotUndoChanges changes a key while it is being loaded.
func TestLoadsDoNotUndoChanges(t *testing.T) {
	changes := map[string]struct {
		change func(*Cache[string])
		want   string
	}{
		"stored":  {func(c *Cache[string]) { c.Store("k", "new") }, "new"},
		"deleted": {func(c *Cache[string]) { c.Delete("k") }, ""},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			c := newCache(t, Options[string]{MaxCost: 10})
			v, err := c.Load(t.Context(), "k", func(context.Context) (string, error) {
				change.change(c)
				return "old", nil
			})
			if v != "old" || err != nil {
				t.Errorf("Load = %q, %v", v, err)
			}
			if got, _ := c.Lookup("k"); got != change.want {
				t.Errorf("%q is kept, want %q", got, change.want)
			}
		})
	}
}

func TestCloseEndsLoads(t *testing.T) {
	c, err := New(Options[string]{MaxCost: 10})
	if err != nil {
		t.Fatal(err)
	}
	begun, ended := make(chan struct{}), make(chan error)
	go func() {
		_, err := c.Load(context.Background(), "k", func(ctx context.Context) (string, error) {
			close(begun)
			<-ctx.Done()
			return "", ctx.Err()
		})
		ended <- err
	}()
	<-begun
	c.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestConcurrentUse(t *testing.T) {
	c := newCache(t, Options[string]{MaxCost: 50, Cost: length, TTL: time.Minute})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				key := fmt.Sprint(i % 30)
				switch (g + i) % 4 {
				case 0:
					c.Store(key, key)
				case 1:
					c.Delete(key)
				case 2:
					if v, err := c.Load(t.Context(), key, func(context.Context) (string, error) { return key, nil }); v != key || err != nil {
						t.Errorf("Load(%s) = %q, %v", key, v, err)
					}
				default:
					if v, ok := c.Lookup(key); ok && v != key {
						t.Errorf("Lookup(%s) = %q", key, v)
					}
				}
			}
		})
	}
	wg.Wait()
}
