package crypto

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/internal/sandbox/kms"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// registry is a rewrap registry in memory.
type registry struct {
	mu    sync.Mutex
	files map[string][]byte
	asked int
	err   error
}

func (r *registry) look(_ context.Context, old EDK) (EDK, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	text, ok := r.files[RewrapName(old.Blob)]
	if !ok || r.err != nil {
		return EDK{}, false, r.err
	}
	e, err := ParseRewrap(text)
	return e, true, err
}

// rewrap stores what k makes of h's data key under to.
func (r *registry) rewrap(b *bench, k *Keyring, h *Header, to string) {
	b.t.Helper()
	w, ok, err := k.Rewrap(b.t.Context(), h, "key", to)
	if !ok || err != nil {
		b.t.Fatalf("Rewrap to %s: %v, %v", to, ok, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[w.Name()] = EncodeRewrap(w.New)
}

func newRegistry() *registry { return &registry{files: map[string][]byte{}} }

func TestRewrapOpensObjectsOfAKeyThatIsGone(t *testing.T) {
	b := newBench(t)
	far := b.create(kms.KeyOptions{Region: farRegion})
	for name, to := range map[string]Key{"same region": b.create(kms.KeyOptions{}), "other region": far} {
		t.Run(name, func(t *testing.T) {
			b.t, b.key = t, b.create(kms.KeyOptions{})
			reg := newRegistry()
			h := b.message(nil, "key")
			both := b.keyring(func(o *KeyringOptions) { o.Allowed, o.Rewrapped = []string{to.ARN}, reg.look })
			reg.rewrap(b, both, h, to.ARN)
			if both.vault.pages[0].keys != 0 {
				t.Error("a data key stays in memory")
			}
			if n := b.Log.Count(opReEncrypt); n != 1 && name == "same region" || n != 0 && name == "other region" {
				t.Errorf("%d ReEncrypt", n)
			}
			if _, ok, err := both.Rewrap(t.Context(), h, "key", to.ARN); ok || err != nil {
				t.Errorf("rewrapped twice: %v", err)
			}
			b.Log.Reset()
			reg.asked = 0
			b.open(both, h, "key")
			if b.calls(0, 1); reg.asked != 0 {
				t.Error("the registry was asked though the old key works")
			}
			_ = b.KMS.Disable(b.key.ARN)
			k := b.keyring(func(o *KeyringOptions) { o.Allowed, o.Rewrapped = []string{to.ARN}, reg.look })
			for range 3 {
				b.open(k, h, "key")
			}
			b.calls(0, 3) // refused, then granted once
			b.open(b.keyring(func(o *KeyringOptions) { o.Keys, o.Rewrapped = []Key{to}, reg.look }), h, "key")
			b.calls(0, 4) // a mount that knows the new key only asks for no other
		})
	}
}

// TestRewrapOfRewrapped follows a data key over two keys that went away.
func TestRewrapOfRewrapped(t *testing.T) {
	b := newBench(t)
	second, third := b.create(kms.KeyOptions{}), b.create(kms.KeyOptions{})
	reg := newRegistry()
	h := b.message(nil, "key")
	k := b.keyring(func(o *KeyringOptions) { o.Allowed, o.Rewrapped = []string{second.ARN, third.ARN}, reg.look })
	reg.rewrap(b, k, h, second.ARN)
	_ = b.KMS.Disable(b.key.ARN)
	reg.rewrap(b, k, h, third.ARN)
	_ = b.KMS.Disable(second.ARN)
	b.open(k, h, "key")
	if len(reg.files) != 1 || reg.files[RewrapName(h.EDKs[0].Blob)] == nil {
		t.Errorf("%d files in the registry", len(reg.files))
	}
}

func TestRewrapRefuses(t *testing.T) {
	b := newBench(t)
	to := b.create(kms.KeyOptions{})
	k := b.keyring(nil)
	h := b.message(nil, "key")
	elsewhere := b.message(func(o *KeyringOptions) { o.Bucket = otherBucket }, "key")
	foreign := b.message(func(o *KeyringOptions) { o.Keys = []Key{to} }, "key")

	_, _, err := k.Rewrap(t.Context(), elsewhere, "key", to.ARN)
	b.refused(err, NotAccepted)
	_, _, err = k.Rewrap(t.Context(), foreign, "key", b.key.ARN)
	b.refused(err, NotAccepted)
	_, _, err = k.Rewrap(t.Context(), h, "key", "alias/x")
	b.refused(err, Malformed)
	if _, ok, err := k.Rewrap(t.Context(), h, "key", b.key.ARN); ok || err != nil {
		t.Errorf("rewrapped under its own key: %v", err)
	}
	if n := len(b.Log.Requests()); n != 0 {
		t.Errorf("KMS had %d requests", n)
	}
	b.Denials.Deny("kms:ReEncryptTo", to.ARN)
	_, _, err = k.Rewrap(t.Context(), h, "key", to.ARN)
	wantKeyError(t, err, Denied, "kms:ReEncryptTo")
}

// TestRegistryIsNotTrusted plants entries, and lets the registry fail.
func TestRegistryIsNotTrusted(t *testing.T) {
	b := newBench(t)
	foreign, second := b.create(kms.KeyOptions{}), b.create(kms.KeyOptions{})
	h := b.message(nil, "key")
	other := b.message(func(o *KeyringOptions) { o.Keys = []Key{second} }, "key")
	_ = b.KMS.Disable(b.key.ARN)
	cases := map[string]struct {
		entry []byte
		err   error
		check func(error) bool
	}{
		"foreign key":    {EncodeRewrap(EDK{Info: foreign.ARN, Blob: []byte("x")}), nil, Refused},
		"other data key": {EncodeRewrap(other.EDKs[0]), nil, func(err error) bool { return errors.Is(err, ErrTampered) }},
		"no ciphertext":  {EncodeRewrap(EDK{Info: second.ARN, Blob: []byte("x")}), nil, Refused},
		"no JSON":        {[]byte("{"), nil, Refused},
		"nothing":        {nil, nil, Refused},
		"unreadable":     {nil, errors.New("registry is away"), Refused}, // what KMS said comes first
	}
	for name, c := range cases {
		reg := newRegistry()
		reg.err = c.err
		if c.entry != nil {
			reg.files[RewrapName(h.EDKs[0].Blob)] = c.entry
		}
		k := b.keyring(func(o *KeyringOptions) { o.Allowed, o.Rewrapped = []string{second.ARN}, reg.look })
		_, err := k.Open(t.Context(), h, "key")
		if err == nil || !c.check(err) || Passing(err) || Refused(err) == errors.Is(err, ErrTampered) || c.err != nil && !strings.Contains(err.Error(), c.err.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, r := range b.Log.Requests() {
		if r.Key == foreign.ARN {
			t.Errorf("KMS was asked for %s", r.Key)
		}
	}

	reg := newRegistry()
	reg.err = errors.New("registry is away")
	k := b.keyring(func(o *KeyringOptions) { o.Keys, o.Rewrapped = []Key{second}, reg.look })
	_, err := k.Open(t.Context(), h, "key")
	b.refused(err, Unanswered) // nobody knows whether the key is accepted
	if !errors.Is(err, reg.err) {
		t.Errorf("the cause is lost: %v", err)
	}
}

func TestRewrapLostAnswer(t *testing.T) {
	b := newBench(t)
	to := b.create(kms.KeyOptions{})
	h := b.message(nil, "key")
	k := b.keyring(nil)
	for _, kind := range []wire.FaultKind{wire.ResetBefore, wire.ResetAfter} {
		rule := b.Faults.Add(wire.Fault{Op: opReEncrypt, Kind: kind})
		_, ok, err := k.Rewrap(t.Context(), h, "key", to.ARN)
		if b.refused(err, Unanswered); ok {
			t.Error("and yet there is an entry")
		}
		rule.Remove()
	}
}

func TestParseRewrapRefuses(t *testing.T) {
	good := EDK{Provider: providerKMS, Info: testKeyARN, Blob: []byte("blob")}
	text := string(EncodeRewrap(good))
	if want := `{"kms_key":"` + testKeyARN + `","blob":"YmxvYg=="}` + "\n"; text != want {
		t.Errorf("encoded as %s", text)
	}
	if got, err := ParseRewrap([]byte(text)); err != nil || !cmp.Equal(got, good) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, text := range map[string]string{
		"nothing":      "",
		"null":         "null",
		"cut":          text[:len(text)-3],
		"trailing":     text + "{}",
		"unknown":      strings.Replace(text, "{", `{"x":1,`, 1),
		"no blob":      strings.Replace(text, "YmxvYg==", "", 1),
		"no base64":    strings.Replace(text, "YmxvYg==", "*", 1),
		"long blob":    string(EncodeRewrap(EDK{Info: testKeyARN, Blob: make([]byte, maxBlob+1)})),
		"alias":        strings.Replace(text, ":key/", ":alias/", 1),
		"no key":       strings.Replace(text, testKeyARN, "", 1),
		"another size": text + strings.Repeat(" ", maxRewrap),
	} {
		if e, err := ParseRewrap([]byte(text)); !errors.Is(err, ErrTampered) || !cmp.Equal(e, EDK{}) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

func FuzzParseRewrap(f *testing.F) {
	f.Add(EncodeRewrap(EDK{Info: testKeyARN, Blob: []byte("blob")}))
	f.Add([]byte(`{"kms_key":"arn:aws:kms:a:b:key/c","blob":"AAAA"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := ParseRewrap(text)
		if err != nil {
			return
		}
		again, err := ParseRewrap(EncodeRewrap(e))
		if err != nil || !cmp.Equal(e, again) || len(e.Blob) > maxBlob || !bytes.HasPrefix([]byte(e.Info), []byte("arn:")) {
			t.Fatalf("%+v is encoded as %+v, %v", e, again, err)
		}
	})
}
