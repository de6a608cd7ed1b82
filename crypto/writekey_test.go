package crypto

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/kms"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// idle waits for replacements of the write key that are under way.
func idle(k *Keyring) {
	k.mu.Lock()
	f := k.flight
	k.mu.Unlock()
	if f != nil {
		<-f.done
	}
}

// blob names the data key of a header.
func blob(h *Header) string { return string(h.EDKs[0].Blob) }

// TestWriteKeyIsReplacedAheadOfItsEnd uses up each of the limits, first to the
// share at which the next key is made in the background, then wholly.
func TestWriteKeyIsReplacedAheadOfItsEnd(t *testing.T) {
	limits := map[string]func(b *bench, k *Keyring, share float64){
		"time":     func(b *bench, k *Keyring, share float64) { b.pass(time.Duration(share * float64(DefaultTTL))) },
		"messages": func(_ *bench, k *Keyring, share float64) { k.write.Load().messages.Add(int64(share * maxMessages)) },
		"bytes":    func(_ *bench, k *Keyring, share float64) { k.write.Load().bytes.Add(int64(share * maxSealed)) },
	}
	for name, use := range limits {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			k := b.keyring(nil)
			first := b.seal(k, "key")
			if s := k.write.Load().share; s < 0.75 || s > 0.85 {
				t.Errorf("a key is to be replaced at %v of its limits", s)
			}
			use(b, k, 0.7)
			if h := b.seal(k, "key"); blob(h) != blob(first) {
				t.Error("replaced too early")
			}
			use(b, k, 0.16)
			if h := b.seal(k, "key"); blob(h) != blob(first) {
				t.Error("the message that found the key old waited for the next one")
			}
			idle(k)
			second := b.seal(k, "key")
			if blob(second) == blob(first) {
				t.Error("not replaced ahead of its end")
			}
			b.calls(2, 0)
			use(b, k, 1)
			if h := b.seal(k, "key"); blob(h) == blob(second) {
				t.Error("used beyond its end")
			}
			b.calls(3, 0)
			for _, h := range []*Header{first, second} {
				b.open(k, h, "key")
			}
			b.calls(3, 0) // what was written here needs no Decrypt
			b.cache.Flush()
			if n := k.vault.pages[0].keys; n != 1 {
				t.Errorf("%d data keys are in memory", n)
			}
		})
	}
}

func TestWriteKeyIsNotReplacedUnused(t *testing.T) {
	b := newBench(t)
	k := b.keyring(nil)
	b.seal(k, "key")
	b.pass(10 * DefaultTTL)
	b.open(k, b.seal(k, "key"), "key")
	b.calls(2, 0)
}

func TestSealCountsBytesOfRuns(t *testing.T) {
	b := newBench(t)
	k := b.keyring(nil)
	s, err := k.Seal(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	s.Run(1, 3)
	if n := k.write.Load().bytes.Load(); n != 3*FrameSize {
		t.Errorf("%d bytes are counted, want three frames", n)
	}
}

// TestWriteKeysTakeTurns seals from many goroutines while keys of few messages
// replace each other: none serves more than it may, and all can be opened.
func TestWriteKeysTakeTurns(t *testing.T) {
	b := newBench(t)
	k := b.keyring(nil)
	k.maxMessages = 40
	const goroutines, each = 64, 50
	headers := make([][]*Header, goroutines)
	var wg sync.WaitGroup
	for g := range headers {
		wg.Go(func() {
			for range each {
				s, err := k.Seal(t.Context(), "key")
				if err != nil {
					t.Error(err)
					return
				}
				headers[g] = append(headers[g], s.Header())
				if _, err := k.Open(t.Context(), s.Header(), "key"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	used := map[string]int{}
	for _, h := range slices.Concat(headers...) {
		used[blob(h)]++
	}
	for _, n := range used {
		if n > 40 {
			t.Errorf("a data key served %d messages, of 40", n)
		}
	}
	idle(k)
	if made := b.Log.Count(opGenerate); made < len(used) || made > len(used)+1 || b.Log.Count(opDecrypt) != 0 {
		t.Errorf("%d data keys made, %d used, %d decrypted", made, len(used), b.Log.Count(opDecrypt))
	}
}

// TestWriteKeyIsDroppedWhenRefused: while the key is good, so that nothing but
// the refusal can end it.
func TestWriteKeyIsDroppedWhenRefused(t *testing.T) {
	answer := func(code string) func(*bench) {
		return func(b *bench) {
			b.Faults.Add(wire.Fault{Op: opGenerate, Kind: wire.Answer, Status: 400, Code: code})
		}
	}
	cases := map[string]struct {
		refuse func(*bench)
		reason Reason
	}{
		"disabled":         {func(b *bench) { _ = b.KMS.Disable(b.key.ARN) }, Disabled},
		"pending deletion": {func(b *bench) { _ = b.KMS.ScheduleDeletion(b.key.ARN) }, Unavailable},
		"denied":           {func(b *bench) { b.Denials.Deny("kms:"+opGenerate, b.key.ARN) }, Denied},
		"deleted":          {answer("NotFoundException"), NotFound},
		"bad grant":        {answer("InvalidGrantTokenException"), Denied},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			k := b.keyring(nil)
			b.seal(k, "key")
			c.refuse(b)
			b.pass(DefaultTTL * 9 / 10)
			b.seal(k, "key") // finds the key old
			idle(k)
			if k.write.Load() != nil || b.cache.size() != 0 {
				t.Errorf("the write key or %d cached ones are still there", b.cache.size())
			}
			_, err := k.Seal(t.Context(), "key")
			b.refused(err, c.reason)
			if !Refused(err) || Passing(err) || AccessDenied(err) != (c.reason == Denied) || !strings.Contains(err.Error(), b.key.ARN) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// TestDenialsAreRemembered for some seconds: KMS is not asked for every file of
// a tree that cannot be written.
func TestDenialsAreRemembered(t *testing.T) {
	b := newBench(t)
	k := b.keyring(nil)
	undo := b.Denials.Deny("kms:"+opGenerate, b.key.ARN)
	for range 3 {
		_, err := k.Seal(t.Context(), "key")
		b.refused(err, Denied)
	}
	b.calls(1, 0)
	undo()
	b.pass(retryPause)
	b.seal(k, "key")
	b.calls(2, 0)
}

func TestFlushForgetsTheWriteKey(t *testing.T) {
	b := newBench(t)
	k := b.keyring(nil)
	first := b.seal(k, "key")
	k.Flush()
	if b.cache.size() != 0 {
		t.Error("the cache was not flushed")
	}
	if h := b.seal(k, "key"); blob(h) == blob(first) {
		t.Error("the write key is still used")
	}
	b.open(k, first, "key")
	b.calls(2, 1)

	rule := b.Faults.Add(wire.Fault{Op: opGenerate, Kind: wire.Hang, Times: 1})
	b.pass(DefaultTTL * 9 / 10)
	b.seal(k, "key")
	if err := b.Log.Wait(t.Context(), opGenerate, 3); err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	f := k.flight
	k.mu.Unlock()
	k.Flush()
	rule.Release()
	<-f.done
	if k.write.Load() != nil {
		t.Error("a key that was on its way before Flush was kept")
	}
}

// TestNewKeyOutlivesWhoAskedForIt cancels the one who asked: the others get it.
func TestNewKeyOutlivesWhoAskedForIt(t *testing.T) {
	b := newBench(t)
	k := b.keyring(nil)
	rule := b.Faults.Add(wire.Fault{Op: opGenerate, Kind: wire.Hang})
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	first := make(chan error)
	go func() {
		_, err := k.Seal(ctx, "key")
		first <- err
	}()
	if err := b.Log.Wait(t.Context(), opGenerate, 1); err != nil {
		t.Fatal(err)
	}
	cancel(gone)
	err := <-first
	b.refused(err, Unanswered)
	if !errors.Is(err, gone) {
		t.Errorf("the cause is lost: %v", err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := k.Seal(t.Context(), "key"); err != nil {
				t.Error(err)
			}
		})
	}
	rule.Release()
	wg.Wait()
	b.calls(1, 0)
	if len(b.warned()) != 0 {
		t.Errorf("warnings: %q", b.warned())
	}
}

func TestCloseEndsRequests(t *testing.T) {
	for _, perObject := range []bool{false, true} {
		b := newBench(t)
		k := b.keyring(func(o *KeyringOptions) { o.KeyPerObject = perObject })
		b.Faults.Add(wire.Fault{Op: opGenerate, Kind: wire.Hang})
		ended := make(chan error)
		go func() {
			_, err := k.Seal(t.Context(), "key")
			ended <- err
		}()
		if err := b.Log.Wait(t.Context(), opGenerate, 1); err != nil {
			t.Fatal(err)
		}
		k.mu.Lock()
		f := k.flight
		k.mu.Unlock()
		k.Close()
		if f != nil {
			select {
			case <-f.done:
			default:
				t.Error("Close did not wait for the next write key")
			}
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Seal during Close: %v", err)
		}
	}
}

func TestAllKeysWrapTheDataKey(t *testing.T) {
	b := newBench(t)
	far := b.create(kms.KeyOptions{Region: farRegion})
	both := func(o *KeyringOptions) { o.Keys = []Key{b.key, far} }
	k := b.keyring(both)
	h := b.seal(k, "key")
	if len(h.EDKs) != 2 || h.EDKs[0].Info != b.key.ARN || h.EDKs[1].Info != far.ARN || b.Log.Count(opEncrypt) != 1 {
		t.Fatalf("EDKs are %+v after %d Encrypt", h.EDKs, b.Log.Count(opEncrypt))
	}
	for _, key := range []Key{b.key, far} { // each alone is enough
		b.open(b.keyring(func(o *KeyringOptions) { o.Keys, o.Cache = []Key{key}, nil }), h, "key")
	}
	b.calls(1, 2)
	if s := k.Stats(); s.Calls[opEncrypt] != 1 || s.Saved != 0 {
		t.Errorf("statistics are %+v", s)
	}

	b.Denials.Deny("kms:"+opEncrypt, far.ARN)
	b.pass(DefaultTTL)
	_, err := k.Seal(t.Context(), "key")
	wantKeyError(t, err, Denied, "kms:Encrypt")
	wantKeyError(t, err, Denied, far.ARN)
	b.cache.Flush()
	if k.write.Load() != nil || k.vault.pages[0].keys != 0 {
		t.Error("a key that not all can wrap is still used, or in memory")
	}
}
