package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestOtherErrorsAreNotKept(t *testing.T) {
	for _, err := range []error{errOther, errOutage} {
		b := newBench(t, nil)
		fetch, n := fails(err)
		b.wantErr(1, err, fetch)
		b.wantErr(1, err, fetch)
		if n.Load() != 2 {
			t.Errorf("%v: %d fetches", err, n.Load())
		}
		works, _ := b.fetches("g", "v")
		b.want(1, "v", works)
	}
}

// TestFetchMayDrop drops its own group, before it succeeds and before it fails.
func TestFetchMayDrop(t *testing.T) {
	b := newBench(t, nil)
	b.put(2, "g", "two")
	b.want(1, "one", func(context.Context) (*secret, error) {
		b.Drop("g")
		return b.secret("g", "one"), nil
	})
	b.held(0)
	b.want(1, "one", func(context.Context) (*secret, error) {
		b.Drop("g") // the first key is denied, and the second one works
		return b.secret("h", "one"), nil
	})
	b.held(1)
	b.wantErr(3, errDenied, func(context.Context) (*secret, error) {
		b.Drop("g")
		return nil, errDenied
	})
}

// TestFetchesDoNotUndoChanges changes what is being fetched. Who waits gets the
// newest, and after a flush nothing that is older.
func TestFetchesDoNotUndoChanges(t *testing.T) {
	changes := map[string]struct {
		change func(*bench)
		want   string // what Load returns
		calls  int64
	}{
		"stored":  {func(b *bench) { b.put(1, "g", "stored") }, "stored", 1},
		"dropped": {func(b *bench) { b.Drop("g") }, "fetched 1", 1},
		"flushed": {func(b *bench) { b.Flush() }, "fetched 2", 2},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			var n atomic.Int64
			fetch := func(context.Context) (*secret, error) {
				i := n.Add(1)
				s := b.secret("g", fmt.Sprint("fetched ", i))
				if i == 1 {
					change.change(b)
				}
				return s, nil
			}
			b.want(1, change.want, fetch)
			if n.Load() != change.calls {
				t.Errorf("%d fetches", n.Load())
			}
			if name == "dropped" {
				b.held(0)
			} else {
				b.want(1, change.want, nil)
			}
		})
	}
}

// TestFetchesAreBounded begins more fetches than may run. Those whose callers
// go away before they begin never do.
func TestFetchesAreBounded(t *testing.T) {
	b := newBench(t, nil)
	var now, all atomic.Int64
	release := make(chan struct{})
	fetch := func(context.Context) (*secret, error) {
		all.Add(1)
		if n := now.Add(1); n > maxWorkers {
			t.Errorf("%d fetches at a time", n)
		}
		<-release
		now.Add(-1)
		return b.secret("g", "v"), nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for id := range byte(maxWorkers) {
		wg.Go(func() { b.want(id, "v", fetch) })
	}
	b.until(func() bool { return now.Load() == maxWorkers })
	var given sync.WaitGroup
	for id := byte(100); id < 120; id++ {
		given.Go(func() {
			if v, err := b.Load(ctx, idOf(id), fetch); !errors.Is(err, context.Canceled) {
				t.Errorf("%v, %v", v, err)
			}
		})
		wg.Go(func() { b.want(id+50, "v", fetch) })
	}
	b.until(func() bool { return len(b.queue) == 40 })
	cancel()
	given.Wait()
	b.until(func() bool { return len(b.queue) == 20 })
	close(release)
	wg.Wait()
	if n := all.Load(); n != maxWorkers+20 {
		t.Errorf("%d fetches", n)
	}
	b.want(100, "v", fetch) // given up once is not for ever
}

// until waits for what is about to happen.
func (b *bench) until(happened func() bool) {
	b.t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for range 20_000 {
		b.Cache.mu.Lock()
		ok := happened()
		b.Cache.mu.Unlock()
		if ok {
			return
		}
		<-poll.C
	}
	b.t.Fatal("it does not happen")
}

// TestCloseEndsFetches closes the cache under a fetch that runs and callers
// that wait for it.
func TestCloseEndsFetches(t *testing.T) {
	b := newBench(t, nil)
	begun, ended := make(chan struct{}), make(chan error, 2)
	load := func() {
		_, err := b.Load(context.Background(), idOf(1), func(ctx context.Context) (*secret, error) {
			close(begun)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		ended <- err
	}
	go load()
	<-begun
	go load()
	b.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	b.Store(idOf(1), newSecret(t, "g", "ours"))
	b.Drop("g")
	b.Flush()
	b.Close()
	b.held(0)
}

// TestWhoGoesAwayReturnsItsShare cancels callers at the moment in which the
// value comes.
func TestWhoGoesAwayReturnsItsShare(t *testing.T) {
	b := newBench(t, nil)
	for i := range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		begun := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			<-begun
			cancel()
		})
		v, err := b.Load(ctx, idOf(byte(i%200)), func(context.Context) (*secret, error) {
			close(begun)
			return b.secret("g", "v"), nil
		})
		switch {
		case err == nil:
			v.use("v")
		case !errors.Is(err, context.Canceled):
			t.Error(err)
		}
		wg.Wait()
		b.idle()
		b.Flush()
	}
}

func TestConcurrentUse(t *testing.T) {
	b := newBench(t, func(o *Options) { o.MaxEntries = 10 })
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 300 {
				id := byte(i % 30)
				text := fmt.Sprint(id)
				switch (g + i) % 11 {
				case 0:
					b.put(id, text, text)
				case 1:
					b.Drop(text)
				case 2:
					b.pass(time.Second)
				case 3:
					b.Stats()
				case 4:
					if i%50 == 0 {
						b.Flush()
					}
					b.sweep()
				default:
					works, _ := b.fetches(text, text)
					b.want(id, text, works)
				}
			}
		})
	}
	wg.Wait()
	b.idle()
}
