package crypto

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// TestWriteKeyLivesThroughOutages lets KMS fail in every form while the write
// key runs out of its time, then of its grace.
func TestWriteKeyLivesThroughOutages(t *testing.T) {
	outages := map[string]wire.Fault{
		"internal error":  {Kind: wire.Answer, Status: 500, Code: "KMSInternalException"},
		"throttled":       {Kind: wire.Answer, Status: 400, Code: "ThrottlingException"},
		"expired token":   {Kind: wire.Answer, Status: 400, Code: "ExpiredTokenException"},
		"key unavailable": {Kind: wire.Answer, Status: 500, Code: "KeyUnavailableException"},
		"unreachable":     {Kind: wire.ResetBefore},
		"answer lost":     {Kind: wire.ResetAfter},
		"applied, failed": {Kind: wire.AnswerAfter, Status: 503},
		"answer cut off":  {Kind: wire.CutBody, Cut: 20},
	}
	for name, fault := range outages {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			k := b.keyring(func(o *KeyringOptions) { o.Grace = 5 * time.Minute })
			first := b.seal(k, "key")
			fault.Op = opGenerate
			rule := b.Faults.Add(fault)
			for _, d := range []time.Duration{13 * time.Minute, 3 * time.Minute, 3 * time.Minute} { // ahead of the end, twice beyond it
				b.pass(d)
				if h := b.seal(k, "key"); blob(h) != blob(first) {
					t.Error("another key appeared")
				}
				idle(k)
			}
			if !k.Stats().Outage || len(b.warned()) != 1 || !strings.Contains(b.warned()[0], "5m0s") {
				t.Errorf("outage: %v, warnings: %q", k.Stats().Outage, b.warned())
			}
			asked := rule.Hits()
			b.seal(k, "key") // right behind a failure
			idle(k)
			if rule.Hits() != asked {
				t.Error("KMS is asked again for every message")
			}
			b.pass(2 * time.Minute)
			_, err := k.Seal(t.Context(), "key")
			b.refused(err, Unanswered)
			if !Passing(err) || Refused(err) {
				t.Errorf("no passing error: %v", err)
			}
			b.pass(retryPause)
			rule.Remove()
			if h := b.seal(k, "key"); blob(h) == blob(first) {
				t.Error("used beyond its grace")
			}
			if k.Stats().Outage || len(b.warned()) != 1 {
				t.Errorf("outage: %v, warnings: %q", k.Stats().Outage, b.warned())
			}
		})
	}
}

func TestNoGrace(t *testing.T) {
	b := newBench(t)
	k := b.keyring(func(o *KeyringOptions) { o.Grace = -1 })
	b.seal(k, "key")
	b.Faults.Add(wire.Fault{Op: opGenerate})
	b.pass(DefaultTTL)
	_, err := k.Seal(t.Context(), "key")
	b.refused(err, Unanswered)
}

// TestWriteKeyDoesNotWaitForASlowKMS: a replacement hangs that began ahead of
// the key's end. In its grace nobody waits for it.
func TestWriteKeyDoesNotWaitForASlowKMS(t *testing.T) {
	b := newBench(t)
	k := b.keyring(nil)
	first := b.seal(k, "key")
	rule := b.Faults.Add(wire.Fault{Op: opGenerate, Kind: wire.Hang})
	b.pass(DefaultTTL * 9 / 10)
	b.seal(k, "key")
	b.pass(DefaultTTL / 5)
	begin := time.Now()
	if h := b.seal(k, "key"); blob(h) != blob(first) || time.Since(begin) > graceWait/2 {
		t.Errorf("the old key was not used at once, but after %v", time.Since(begin))
	}
	if !k.Stats().Outage || len(b.warned()) != 1 {
		t.Errorf("outage: %v, warnings: %q", k.Stats().Outage, b.warned())
	}
	rule.Remove()
	idle(k)
	if h := b.seal(k, "key"); blob(h) == blob(first) {
		t.Error("the new key is not used")
	}
	b.calls(2, 0)
}

// TestKnownOutagesAreNotWaitedFor: the next request hangs, and nobody waits.
func TestKnownOutagesAreNotWaitedFor(t *testing.T) {
	b := newBench(t)
	k := b.keyring(nil)
	first := b.seal(k, "key")
	b.Faults.Add(wire.Fault{Op: opGenerate, Times: 1})
	rule := b.Faults.Add(wire.Fault{Op: opGenerate, Kind: wire.Hang})
	defer rule.Remove()
	b.pass(DefaultTTL)
	begin := time.Now()
	for range 3 {
		if h := b.seal(k, "key"); blob(h) != blob(first) {
			t.Error("another key appeared")
		}
		b.pass(retryPause)
	}
	if took := time.Since(begin); took > graceWait/2 {
		t.Errorf("three messages took %v", took)
	}
	if err := b.Log.Wait(t.Context(), opGenerate, 3); err != nil {
		t.Error(err)
	}
}

// TestGraceIsForTimeOnly: what one key may seal is not stretched.
func TestGraceIsForTimeOnly(t *testing.T) {
	b := newBench(t)
	k := b.keyring(nil)
	b.seal(k, "key")
	b.Faults.Add(wire.Fault{Op: opGenerate})
	k.write.Load().messages.Add(maxMessages)
	_, err := k.Seal(t.Context(), "key")
	b.refused(err, Unanswered)
}

// TestOutagesAreWarnedOfOnce lets KMS fail for long, and then often.
func TestOutagesAreWarnedOfOnce(t *testing.T) {
	b := newBench(t)
	k := b.keyring(func(o *KeyringOptions) { o.KeyPerObject = true })
	fails := func(want int) {
		t.Helper()
		rule := b.Faults.Add(wire.Fault{Op: opGenerate})
		defer rule.Remove()
		for range 3 {
			if _, err := k.Seal(t.Context(), "key"); !Passing(err) {
				t.Fatal(err)
			}
			if n := len(b.warned()); n != want {
				t.Errorf("%d warnings, want %d: %q", n, want, b.warned())
			}
			b.pass(DefaultTTL / 2)
		}
	}
	fails(1)
	fails(1) // the same one
	b.seal(k, "key")
	fails(2)
	b.seal(k, "key")
	b.pass(-DefaultTTL)
	fails(2) // right after the last one
}

// TestGivingUpIsNoOutage neither by who asks nor by Close.
func TestGivingUpIsNoOutage(t *testing.T) {
	b := newBench(t)
	k := b.keyring(func(o *KeyringOptions) { o.KeyPerObject = true })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := k.Seal(ctx, "key")
	b.refused(err, Unanswered)
	if k.Stats().Outage || len(b.warned()) != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%v; warnings: %q", err, b.warned())
	}
}
