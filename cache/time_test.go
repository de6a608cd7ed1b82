package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestRefreshAheadOfWhatIsUsed wants a use at nine tenths of the TTL to be
// answered at once and to fetch anew, and nothing to be fetched without a use.
func TestRefreshAheadOfWhatIsUsed(t *testing.T) {
	b := newBench(t, nil)
	unused := b.put(2, "g", "unused")
	old := b.put(1, "g", "old")
	fetch, n := b.fetches("g", "new")
	b.pass(ttl * 7 / 10)
	b.want(1, "old", fetch)
	b.idle()
	if n.Load() != 0 {
		t.Fatal("fetched long before its time")
	}
	b.pass(ttl * 2 / 10)
	b.want(1, "old", fetch)
	b.idle()
	b.want(1, "new", fetch)
	if n.Load() != 1 || !old.wiped() {
		t.Errorf("%d fetches, the old one wiped: %v", n.Load(), old.wiped())
	}
	b.pass(ttl*8/10 - time.Second*10) // the old one's time is long over
	b.want(1, "new", fetch)
	b.idle()
	if n.Load() != 1 {
		t.Error("the new one has the old one's time")
	}
	if unused.wiped() {
		t.Error("wiped before the grace is over")
	}
	b.pass(grace)
	b.sweep()
	if !unused.wiped() {
		t.Error("what nobody uses is kept")
	}
}

// TestRefreshesAreScattered looks at when values that were loaded together are
// due.
func TestRefreshesAreScattered(t *testing.T) {
	var all []time.Duration
	for range 100 {
		d := refreshAfter(ttl)
		if d < ttl*3/4 || d > ttl*85/100 {
			t.Errorf("refreshed at %v of %v", d, ttl)
		}
		all = append(all, d)
	}
	if spread := slices.Max(all) - slices.Min(all); spread < ttl/20 {
		t.Errorf("all within %v", spread)
	}
}

// TestValuesExpire wants a fetch after the TTL, and none of the old value if it
// fails by anything but an outage.
func TestValuesExpire(t *testing.T) {
	for _, err := range []error{errDenied, errOther} {
		b := newBench(t, nil)
		b.put(1, "g", "old")
		b.pass(ttl - 1)
		b.want(1, "old", func(context.Context) (*secret, error) { return nil, errOther })
		b.idle()
		b.pass(1)
		fetch, _ := fails(err)
		b.wantErr(1, err, fetch)
		if len(b.warnings) != 0 {
			t.Errorf("warned: %q", b.warnings)
		}
	}
}

// TestFailedRefreshesWait wants one that fails to be tried again after a while,
// and the value to last its time.
func TestFailedRefreshesWait(t *testing.T) {
	b := newBench(t, nil)
	b.put(1, "g", "old")
	fetch, n := fails(errOther)
	b.pass(ttl * 9 / 10)
	for range 3 {
		b.want(1, "old", fetch)
		b.idle()
	}
	b.pass(retryAfter)
	b.want(1, "old", fetch)
	b.idle()
	if n.Load() != 2 {
		t.Errorf("%d fetches, want 2", n.Load())
	}
}

// TestOutage goes through an outage: one who asks waits, the others do not,
// there is one warning and one attempt every five seconds, and after the grace
// it is over.
func TestOutage(t *testing.T) {
	b := newBench(t, nil)
	for id := range byte(20) {
		b.put(id, "g", fmt.Sprint("old", id))
	}
	fetch, n := fails(errOutage)
	b.pass(ttl)
	b.want(0, "old0", fetch)
	for id := range byte(20) {
		b.want(id, fmt.Sprint("old", id), fetch)
	}
	if n.Load() != 1 {
		t.Errorf("%d fetches fail at once", n.Load())
	}
	for range 4 {
		b.pass(retryAfter)
		for id := range byte(20) {
			b.want(id, fmt.Sprint("old", id), fetch)
			b.idle()
		}
	}
	if n.Load() != 5 {
		t.Errorf("%d fetches in 20 seconds", n.Load())
	}
	b.pass(grace - 20*time.Second - 1)
	b.want(1, "old1", fetch)
	b.idle()
	b.pass(1)
	b.wantErr(1, errOutage, fetch)
	if len(b.warnings) != 1 {
		t.Errorf("warnings are %q", b.warnings)
	}
	again, _ := b.fetches("g", "new")
	b.want(1, "new", again)
	b.pass(ttl)
	b.want(1, "new", fetch)
	if len(b.warnings) != 2 {
		t.Errorf("warnings of the second outage are %q", b.warnings[1:])
	}
}

// TestNobodyWaitsLongForAnOutage lets fetches hang till they are ended: values
// in their grace do not wait for that, and what is not there does.
func TestNobodyWaitsLongForAnOutage(t *testing.T) {
	b := newBench(t, func(o *Options) { o.patience = time.Millisecond })
	b.put(1, "g", "old")
	hangs := func(ctx context.Context) (*secret, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", errOutage, context.Cause(ctx))
	}
	b.pass(ttl * 9 / 10)
	b.want(1, "old", hangs)
	b.idle()
	b.pass(ttl / 10)
	b.want(1, "old", hangs)
	b.idle()
	b.pass(outageMemory - 20*time.Second)
	b.want(1, "old", hangs)

	b.want(2, "new", func(ctx context.Context) (*secret, error) {
		if _, limited := ctx.Deadline(); limited {
			t.Error("what is not there is waited for briefly")
		}
		return b.secret("g", "new"), nil
	})
}

// TestAnOutageIsNoFreePass wants a value past its TTL to be asked for before it
// is handed out, when the failure that tells of an outage is long ago.
func TestAnOutageIsNoFreePass(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Grace = ttl })
	b.put(1, "g", "old")
	b.pass(ttl * 9 / 10)
	fetch, _ := fails(errOutage)
	b.want(1, "old", fetch)
	b.idle()
	b.pass(outageMemory)
	denied, _ := fails(errDenied)
	b.wantErr(1, errDenied, denied)
}

// TestTheEndOfAnOutage wants a background fetch to notice it, also that of
// another value of the group.
func TestTheEndOfAnOutage(t *testing.T) {
	b := newBench(t, nil)
	b.put(1, "g", "old")
	b.put(2, "g", "old two")
	b.pass(ttl)
	fetch, _ := fails(errOutage)
	b.want(1, "old", fetch)
	b.pass(retryAfter)
	works, _ := b.fetches("g", "new")
	b.want(1, "old", works)
	b.idle()
	b.want(1, "new", nil)
	works, _ = b.fetches("g", "new two")
	b.want(2, "new two", works)
}

func TestNoGrace(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Grace = 0 })
	b.put(1, "g", "old")
	fetch, _ := fails(errOutage)
	b.pass(ttl * 9 / 10)
	b.want(1, "old", fetch)
	b.idle()
	b.pass(ttl / 10)
	b.wantErr(1, errOutage, fetch)
	if len(b.warnings) != 0 {
		t.Errorf("warned of what is not so: %q", b.warnings)
	}
}

// TestDenialDropsTheGroup has a refresh denied, and one past the TTL.
func TestDenialDropsTheGroup(t *testing.T) {
	for _, age := range []time.Duration{ttl * 9 / 10, ttl} {
		b := newBench(t, nil)
		first, second, other := b.put(1, "g", "1"), b.put(2, "g", "2"), b.put(3, "h", "3")
		b.pass(age)
		fetch, n := fails(errDenied)
		if age < ttl {
			b.want(1, "1", fetch)
			b.idle()
		} else {
			b.wantErr(1, errDenied, fetch)
		}
		if !first.wiped() || !second.wiped() || other.wiped() {
			t.Errorf("age %v: wiped %v, %v, and of the other group %v", age, first.wiped(), second.wiped(), other.wiped())
		}
		b.wantErr(1, errDenied, fetch)
		if n.Load() != 1 {
			t.Errorf("age %v: %d fetches", age, n.Load())
		}
	}
}

// TestDenialsAreRemembered counts the fetches of 64 callers and of five seconds.
func TestDenialsAreRemembered(t *testing.T) {
	b := newBench(t, nil)
	fetch, n := fails(errDenied)
	for range 64 {
		b.wantErr(1, errDenied, fetch)
	}
	b.pass(denialMemory - 1)
	b.wantErr(1, errDenied, fetch)
	if n.Load() != 1 {
		t.Errorf("%d fetches", n.Load())
	}
	b.pass(1)
	b.wantErr(1, errDenied, fetch)
	if n.Load() != 2 {
		t.Errorf("%d fetches after five seconds, want 2", n.Load())
	}
	works, _ := b.fetches("g", "v")
	b.want(2, "v", works) // of another id
	b.Flush()
	b.want(1, "v", works)
	b.Flush()
	b.wantErr(1, errDenied, fetch)
	b.put(1, "g", "stored")
	b.Drop("g")
	b.want(1, "v", works)
}

func TestDenialsAreBounded(t *testing.T) {
	b := newBench(t, nil)
	for i := range 3 * maxDenials {
		id := [32]byte{byte(i), byte(i >> 8)}
		if _, err := b.Load(t.Context(), id, func(context.Context) (*secret, error) { return nil, errDenied }); !errors.Is(err, errDenied) {
			t.Fatal(err)
		}
	}
	if n := len(b.denials); n > maxDenials {
		t.Errorf("%d denials are remembered", n)
	}
	b.pass(denialMemory)
	b.sweep()
	if n := len(b.denials); n != 0 {
		t.Errorf("%d denials are left", n)
	}
}
