package s3io

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func TestBudgetNeverExceedsItsTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Int64Range(0, 8<<20).Draw(t, "total")
		around := rapid.SampledFrom([]room{{}, sealRoom}).Draw(t, "room")
		b := newBudget(total, around)
		defer b.close()
		var held []*chunk
		var used int64
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(held) > 0 && rapid.Bool().Draw(t, "release") {
				i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
				used -= int64(len(held[i].bytes()))
				held[i].release()
				held = append(held[:i], held[i+1:]...)
				continue
			}
			c := rapid.SampledFrom([]class{small, large}).Draw(t, "class")
			k := b.tryGet(c)
			size := b.sizes[c]
			if fits := used+size <= total; fits != (k != nil) {
				t.Fatalf("tryGet with %d of %d bytes used: got a chunk: %v", used, total, k != nil)
			}
			if k == nil {
				continue
			}
			if n := len(k.bytes()); int64(n) != size || n%os.Getpagesize() != 0 || c == large && n < pagesPerLarge*around.unit() {
				t.Fatalf("chunk of %d bytes, want %d", n, size)
			}
			k.bytes()[0], k.bytes()[size-1] = 1, 1
			held = append(held, k)
			used += size
			if b.mapped > total {
				t.Fatalf("%d bytes mapped, total is %d", b.mapped, total)
			}
		}
		if now, peak := b.inUse(); now != used || peak > total {
			t.Fatalf("inUse says %d, peak %d; want %d and at most %d", now, peak, used, total)
		}
		for _, k := range held {
			k.release()
		}
	})
}

func TestBudgetWaitsOnlyForChunksThatLeave(t *testing.T) {
	b := newBudget(largeChunk, room{})
	defer b.close()
	held := b.tryGet(large)
	if _, err := b.get(t.Context(), small); !errors.Is(err, errScarce) {
		t.Fatalf("get with an idle owner: %v, want errScarce", err)
	}

	held.leave()
	got, both := make(chan error), make(chan struct{})
	for range 2 {
		go func() {
			k, err := b.get(t.Context(), large)
			got <- err
			if err == nil {
				<-both
				k.release()
			}
		}()
	}
	waitFor(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.waiters) == 2 })
	held.release() // one gets it, and nothing leaves any more
	if a, b := <-got, <-got; (a == nil) == (b == nil) || !errors.Is(errors.Join(a, b), errScarce) {
		t.Fatalf("waiters: %v and %v, want one nil and one errScarce", a, b)
	}
	close(both)
	waitFor(t, func() bool { now, _ := b.inUse(); return now == 0 })

	held = b.tryGet(large)
	held.leave()
	go func() {
		k, err := b.get(t.Context(), large)
		if err == nil {
			k.release()
		}
		got <- err
	}()
	waitFor(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.waiters) == 1 })
	if b.tryGet(small) != nil {
		t.Fatal("tryGet overtook a waiter")
	}
	held.release()
	if err := <-got; err != nil {
		t.Fatalf("waiter after release: %v", err)
	}
	if now, _ := b.inUse(); now != 0 {
		t.Fatalf("%d bytes still in use", now)
	}
}

func TestBudgetWaiterGoesWithItsContext(t *testing.T) {
	b := newBudget(smallChunk, room{})
	defer b.close()
	held := b.tryGet(small)
	held.leave()
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error)
	go func() {
		_, err := b.get(ctx, small)
		got <- err
	}()
	waitFor(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.waiters) == 1 })
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Fatalf("get after cancel: %v", err)
	}
	held.release()
	if now, _ := b.inUse(); now != 0 {
		t.Fatalf("%d bytes went to a waiter that left", now)
	}
}

func TestBudgetUnderContention(t *testing.T) {
	b := newBudget(4*largeChunk, room{})
	defer b.close()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range 200 {
				k, err := b.get(t.Context(), class(i%2))
				if errors.Is(err, errScarce) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				k.leave()
				k.bytes()[0]++
				k.release()
			}
		})
	}
	wg.Wait()
	if now, peak := b.inUse(); now != 0 || peak > 4*largeChunk || b.leaving != 0 {
		t.Fatalf("in use %d, leaving %d, peak %d", now, b.leaving, peak)
	}
}
