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
)

// secret is a value that tells when it is wiped, and when it is used, acquired
// or released after that. The race detector sees a wipe during a use.
type secret struct {
	t     *testing.T
	group string
	text  string
	refs  atomic.Int64
	bytes []byte // what the wipe clears
}

// newSecret returns a secret with one holder, the caller.
func newSecret(t *testing.T, group, text string) *secret {
	s := &secret{t: t, group: group, text: text, bytes: []byte(text)}
	s.refs.Store(1)
	return s
}

func (s *secret) Group() string { return s.group }

func (s *secret) Acquire() bool {
	for {
		n := s.refs.Load()
		if n <= 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *secret) Release() {
	switch n := s.refs.Add(-1); {
	case n == 0:
		clear(s.bytes)
	case n < 0:
		s.t.Errorf("%s: released once too often", s.text)
	}
}

func (s *secret) wiped() bool { return s.refs.Load() == 0 }

// use reads the secret, and lets go of it.
func (s *secret) use(want string) {
	s.t.Helper()
	if string(s.bytes) != want {
		s.t.Errorf("secret is %q, want %q", s.bytes, want)
	}
	s.Release()
}

var (
	errOutage = errors.New("outage")
	errDenied = errors.New("denied")
	errOther  = errors.New("other")
)

// bench is a Cache whose clock stands still until the test moves it, and which
// knows all secrets that were made for it.
type bench struct {
	*Cache[*secret]
	t *testing.T

	mu       sync.Mutex
	now      time.Time
	secrets  []*secret
	warnings []string
}

const ttl, grace = 100 * time.Second, 50 * time.Second

func newBench(t *testing.T, edit func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Unix(1e9, 0)}
	o := Options{
		TTL: ttl, Grace: grace, MaxEntries: 1000,
		Passing: func(err error) bool { return errors.Is(err, errOutage) },
		Denied:  func(err error) bool { return errors.Is(err, errDenied) },
		Warn:    b.warn,
		Now:     b.clock,
	}
	if edit != nil {
		edit(&o)
	}
	var err error
	if b.Cache, err = New[*secret](o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.end)
	return b
}

// end closes the cache: then nobody holds a secret, and all are wiped.
func (b *bench) end() {
	b.Close()
	if n := b.Stats().Held; n != 0 {
		b.t.Errorf("%d values are held after Close", n)
	}
	for _, s := range b.secrets {
		if !s.wiped() {
			b.t.Errorf("%s has %d holders after Close", s.text, s.refs.Load())
		}
	}
}

func (b *bench) warn(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.warnings = append(b.warnings, text)
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bench) secret(group, text string) *secret {
	s := newSecret(b.t, group, text)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.secrets = append(b.secrets, s)
	return s
}

// put stores a new secret, which nobody but the cache holds then.
func (b *bench) put(id byte, group, text string) *secret {
	s := b.secret(group, text)
	b.Store(idOf(id), s)
	s.Release()
	return s
}

// fetches returns a fetch that brings a new secret, and counts.
func (b *bench) fetches(group, text string) (fetch func(context.Context) (*secret, error), n *atomic.Int64) {
	n = new(atomic.Int64)
	return func(context.Context) (*secret, error) {
		n.Add(1)
		return b.secret(group, text), nil
	}, n
}

// fails returns a fetch that fails, and counts.
func fails(err error) (fetch func(context.Context) (*secret, error), n *atomic.Int64) {
	n = new(atomic.Int64)
	return func(context.Context) (*secret, error) {
		n.Add(1)
		return nil, err
	}, n
}

// want loads id, which must be the secret of that text.
func (b *bench) want(id byte, text string, fetch func(context.Context) (*secret, error)) {
	b.t.Helper()
	v, err := b.Load(b.t.Context(), idOf(id), fetch)
	if err != nil {
		b.t.Errorf("Load: %v, want %q", err, text)
		return
	}
	v.use(text)
}

// wantErr loads id, which must fail.
func (b *bench) wantErr(id byte, want error, fetch func(context.Context) (*secret, error)) {
	b.t.Helper()
	if v, err := b.Load(b.t.Context(), idOf(id), fetch); !errors.Is(err, want) {
		b.t.Errorf("Load = %v, %v, want %v", v, err, want)
	}
}

// idle waits for the fetches in the background.
func (b *bench) idle() {
	b.t.Helper()
	b.Cache.mu.Lock()
	var under []*load[*secret]
	for _, l := range b.loads {
		under = append(under, l)
	}
	b.Cache.mu.Unlock()
	for _, l := range under {
		select {
		case <-l.done:
		case <-b.t.Context().Done():
			b.t.Fatal("a fetch does not end")
		}
	}
}

func idOf(n byte) [32]byte { return [32]byte{31: n} }

func (b *bench) held(want int64) {
	b.t.Helper()
	if n := b.Stats().Held; n != want {
		b.t.Errorf("%d values are held, want %d", n, want)
	}
}

func TestNewRefusesWhatIsNoBound(t *testing.T) {
	for _, o := range []Options{{TTL: -1}, {Grace: -1}, {MaxEntries: -1}} {
		if c, err := New[*secret](o); err == nil {
			c.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
	c, err := New[*secret](Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.o.TTL != 15*time.Minute || c.o.Grace != 0 {
		t.Errorf("defaults are %+v", c.o)
	}
	if _, err := c.Load(t.Context(), idOf(1), func(context.Context) (*secret, error) { return nil, errDenied }); !errors.Is(err, errDenied) {
		t.Error(err)
	}
}

// TestConcurrentMissesFetchOnce lets 64 goroutines miss together: one fetch
// serves them all, also those who come after the first one has given up.
func TestConcurrentMissesFetchOnce(t *testing.T) {
	b := newBench(t, nil)
	var calls atomic.Int64
	begun, release := make(chan struct{}), make(chan struct{})
	fetch := func(ctx context.Context) (*secret, error) {
		calls.Add(1)
		close(begun)
		<-release
		return b.secret("g", "v"), ctx.Err()
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	first := make(chan error)
	go func() {
		_, err := b.Load(ctx, idOf(1), fetch)
		first <- err
	}()
	<-begun
	cancel(gone)
	if err := <-first; !errors.Is(err, gone) {
		t.Errorf("who went away got %v", err)
	}
	var wg, ready sync.WaitGroup
	ready.Add(64)
	for range 64 {
		wg.Go(func() {
			ready.Done()
			b.want(1, "v", fetch)
		})
	}
	ready.Wait()
	close(release)
	wg.Wait()
	if s := b.Stats(); calls.Load() != 1 || s.Loads != 1 || s.Hits+s.Misses != 65 || s.Refreshes != 0 || s.Held != 1 {
		t.Errorf("%d fetches, %+v", calls.Load(), s)
	}
	b.want(1, "v", nil)
}

// TestEvictionLeavesReadersAlone evicts, expires, drops and replaces values
// that a reader holds.
func TestEvictionLeavesReadersAlone(t *testing.T) {
	ways := map[string]func(b *bench){
		"stored over": func(b *bench) { b.put(1, "g", "new") },
		"dropped":     func(b *bench) { b.Drop("g") },
		"flushed":     func(b *bench) { b.Flush() },
		"closed":      func(b *bench) { b.Close() },
		"expired":     func(b *bench) { b.pass(ttl + grace); b.sweep() },
		"crowded out": func(b *bench) {
			for i := range 200 {
				b.put(byte(2+i), "h", fmt.Sprint("other", i))
			}
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(o *Options) { o.MaxEntries = 4 })
			fetch, _ := b.fetches("g", "v")
			v, err := b.Load(t.Context(), idOf(1), fetch)
			if err != nil {
				t.Fatal(err)
			}
			way(b)
			if v.wiped() {
				t.Error("wiped in the reader's hands")
			}
			v.use("v")
			if !v.wiped() {
				t.Errorf("%d holders are left", v.refs.Load())
			}
		})
	}
}

// TestOnePointerStoredTwice stores one value under two ids, and twice under one.
func TestOnePointerStoredTwice(t *testing.T) {
	b := newBench(t, nil)
	v := b.secret("g", "v")
	for _, id := range []byte{1, 1, 2, 2, 1} {
		b.Store(idOf(id), v)
	}
	b.held(2)
	v.Release()
	b.put(1, "g", "new")
	b.want(2, "v", nil)
	b.put(2, "g", "new")
	if !v.wiped() {
		t.Errorf("%d holders are left", v.refs.Load())
	}
}

// TestFetchOfWhatIsThere has a refresh bring the pointer that is there already.
func TestFetchOfWhatIsThere(t *testing.T) {
	b := newBench(t, nil)
	v := b.put(1, "g", "v")
	b.pass(ttl)
	same := func(context.Context) (*secret, error) {
		v.Acquire()
		return v, nil
	}
	b.want(1, "v", same)
	b.want(1, "v", nil)
	b.held(1)
}

func TestStoreReplacesAtOnce(t *testing.T) {
	b := newBench(t, nil)
	for i := range 500 {
		b.put(1, "g", "old")
		text := fmt.Sprint("new", i)
		b.put(1, "g", text)
		b.want(1, text, nil)
	}
	b.held(1)
}

func TestStatsCount(t *testing.T) {
	b := newBench(t, nil)
	fetch, _ := b.fetches("g", "v")
	b.want(1, "v", fetch)
	b.want(1, "v", fetch)
	b.pass(ttl * 9 / 10)
	b.want(1, "v", fetch)
	b.idle()
	if s, want := b.Stats(), (Stats{Hits: 2, Misses: 1, Loads: 1, Refreshes: 1, Held: 1}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}

func TestWarningsSayWhatIsKept(t *testing.T) {
	b := newBench(t, nil)
	b.put(1, "the-key", "v")
	b.pass(ttl)
	fetch, _ := fails(errOutage)
	b.want(1, "v", fetch)
	if len(b.warnings) != 1 || !strings.Contains(b.warnings[0], "the-key") || !strings.Contains(b.warnings[0], "outage") || !strings.Contains(b.warnings[0], grace.String()) {
		t.Errorf("warnings are %q", b.warnings)
	}
}
