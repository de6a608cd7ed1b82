package cache

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/dgraph-io/ristretto/v2"
)

// collide is a hash with which ristretto refuses every id but the first.
func collide(id string) (uint64, uint64) { return 1, binary.BigEndian.Uint64([]byte(id[24:])) }

// same is a hash by which ristretto takes all ids for one.
func same(string) (uint64, uint64) { return 1, 1 }

// TestWhatRistrettoLosesIsKeptAside lets ristretto refuse all values but one.
func TestWhatRistrettoLosesIsKeptAside(t *testing.T) {
	b := newBench(t, func(o *Options) { o.hash = collide })
	var all []*secret
	for i := range byte(10) {
		all = append(all, b.put(i, fmt.Sprint("g", i%2), fmt.Sprint(i)))
		b.want(i, fmt.Sprint(i), nil)
	}
	for i := range byte(10) {
		b.want(i, fmt.Sprint(i), nil)
	}
	b.held(10)
	if len(b.shelf.aside) != 9 {
		t.Errorf("%d values are aside: ristretto lost none?", len(b.shelf.aside))
	}
	b.Drop("g1")
	for i, s := range all {
		if s.wiped() != (i%2 == 1) {
			t.Errorf("value %d of group g%d: wiped %v", i, i%2, s.wiped())
		}
	}
	b.pass(ttl + grace)
	b.sweep()
	b.held(0)
}

func TestTheNewestAreKeptAside(t *testing.T) {
	b := newBench(t, func(o *Options) { o.hash = collide })
	var all []*secret
	for i := range byte(maxAside + 11) {
		all = append(all, b.put(i, "g", fmt.Sprint(i)))
	}
	b.held(maxAside + 1)
	for i, s := range all {
		if lost := i > 0 && i <= 10; s.wiped() != lost {
			t.Errorf("value %d: wiped %v", i, s.wiped())
		}
	}
}

// TestWhatRistrettoSwallows has ristretto take a value in, keep another one in
// its place, and tell nobody.
func TestWhatRistrettoSwallows(t *testing.T) {
	b := newBench(t, func(o *Options) { o.hash = collide })
	b.put(1, "g", "one")
	two := idOf(2)
	b.shelf.entries.Del(string(two[:])) // forgets the cost of one, but not one
	b.put(2, "g", "two")
	b.want(1, "one", nil)
	b.want(2, "two", nil)
	b.held(2)
}

// TestIDsAreComparedWhole uses a hash that is the same for all ids.
func TestIDsAreComparedWhole(t *testing.T) {
	b := newBench(t, func(o *Options) { o.hash = same })
	b.put(1, "g", "one")
	fetch, n := b.fetches("g", "two")
	b.want(2, "two", fetch)
	b.want(2, "two", fetch)
	if n.Load() != 1 {
		t.Errorf("%d fetches", n.Load())
	}
	fetch, _ = b.fetches("g", "one again")
	b.want(1, "one again", fetch)
}

// TestABurstLosesNothing stores from 64 goroutines at once, and finds
// everything at once.
func TestABurstLosesNothing(t *testing.T) {
	const goroutines, each = 64, 100
	b := newBench(t, func(o *Options) { o.MaxEntries = 4 * goroutines * each })
	id := func(g, i int) (id [32]byte) {
		binary.BigEndian.PutUint64(id[:], uint64(g*each+i))
		return id
	}
	get := func(g, i int) {
		v, err := b.Load(t.Context(), id(g, i), nil)
		if err != nil {
			t.Fatal(err)
		}
		v.use(fmt.Sprint(g, i))
	}
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				v := b.secret("g", fmt.Sprint(g, i))
				b.Store(id(g, i), v)
				v.Release()
				get(g, i)
			}
		})
	}
	wg.Wait()
	for g := range goroutines {
		for i := range each {
			get(g, i)
		}
	}
	b.held(goroutines * each)
}

// TestAFullCacheTakesTheNewest fills the cache with values in demand: one that
// ristretto refuses then is found nevertheless.
func TestAFullCacheTakesTheNewest(t *testing.T) {
	b := newBench(t, func(o *Options) { o.MaxEntries = 8 })
	for i := range byte(8) {
		b.put(i, "g", fmt.Sprint(i))
	}
	for range 2000 {
		for i := range byte(8) {
			if e := b.shelf.get(idOf(i)); e == nil {
				t.Fatalf("value %d has gone", i)
			}
		}
	}
	for i := byte(100); i < 200; i++ {
		b.put(i, "g", fmt.Sprint(i))
		b.want(i, fmt.Sprint(i), nil)
	}
	if n := b.Stats().Held; n > 8+maxAside {
		t.Errorf("%d values are held", n)
	}
}

// TestRistretto shows what the shelf is built against. Where it fails after an
// update of ristretto, doc.go tells of a trap that is no more.
func TestRistretto(t *testing.T) {
	open := func(t *testing.T, size int64, ignore bool) (*ristretto.Cache[string, *string], map[*string]int) {
		exits := make(map[*string]int)
		c, err := ristretto.NewCache(&ristretto.Config[string, *string]{
			NumCounters: 10 * size, MaxCost: size, BufferItems: 64, IgnoreInternalCost: ignore,
			OnExit: func(s *string) { exits[s]++ },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c, exits
	}
	t.Run("adds its own cost", func(t *testing.T) {
		c, _ := open(t, 100, false)
		for i := range 10 {
			c.Set(fmt.Sprint(i), new(string), 1)
		}
		c.Wait()
		n := 0
		c.IterValues(func(*string) bool { n++; return false })
		if n != 1 {
			t.Errorf("%d values are kept", n)
		}
	})
	t.Run("exits what is set again", func(t *testing.T) {
		c, exits := open(t, 100, true)
		v := new(string)
		for range 3 {
			c.Set("k", v, 1)
			c.Wait()
		}
		if got, ok := c.Get("k"); exits[v] != 2 || !ok || got != v {
			t.Errorf("%d exits, and it is there: %v", exits[v], ok)
		}
	})
	t.Run("exits what is not there", func(t *testing.T) {
		c, exits := open(t, 100, true)
		c.Del("k")
		c.Wait()
		if exits[nil] == 0 {
			t.Error("no exit of nil")
		}
	})
	t.Run("loses the second of two", func(t *testing.T) {
		c, _ := open(t, 1000, true)
		lost := 0
		for i := range 1000 {
			first, second := new(string), new(string)
			c.Set(fmt.Sprint(i), first, 1)
			c.Set(fmt.Sprint(i), second, 1)
			c.Wait()
			if got, ok := c.Get(fmt.Sprint(i)); !ok || got != second {
				lost++
			}
		}
		if lost == 0 {
			t.Error("none was lost")
		}
	})
}
