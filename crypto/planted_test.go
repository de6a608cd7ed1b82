package crypto

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox/kms"
)

// TestOpenProvesHeaders changes a byte in every region of a header.
func TestOpenProvesHeaders(t *testing.T) {
	b := newBench(t)
	h := b.message(nil, "key")
	raw := h.Bytes()
	for name, at := range map[string]int{
		"message ID":  10,
		"wrapped key": bytes.Index(raw, h.EDKs[0].Blob) + len(h.EDKs[0].Blob) - 1,
		"pad":         HeaderSize - tailSize - 1,
		"commitment":  HeaderSize - tagSize - 1,
		"tag":         HeaderSize - 1,
	} {
		changed := bytes.Clone(raw)
		changed[at] ^= 1
		planted, err := ParseHeader(changed)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		k := b.keyring(nil)
		_, err = k.Open(t.Context(), planted, "key")
		if !errors.Is(err, ErrTampered) || Passing(err) || Refused(err) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(err.Error(), base64.StdEncoding.EncodeToString(h.EDKs[0].Blob)[:20]) {
			t.Errorf("%s: the message has the wrapped key: %v", name, err)
		}
		b.open(k, h, "key") // a planted header spoils nothing for the genuine one
	}
}

// TestPlantedEDKsSpoilNothing adds a wrapped key of the attacker's to a header
// that borrows ours.
func TestPlantedEDKsSpoilNothing(t *testing.T) {
	b := newBench(t)
	victim, other := b.message(nil, "key"), b.message(nil, "key")
	broken := victim.EDKs[0]
	broken.Blob = bytes.Clone(broken.Blob)
	broken.Blob[len(broken.Blob)-1] ^= 1
	for name, edks := range map[string][]EDK{
		"behind":    {victim.EDKs[0], other.EDKs[0]},
		"in front":  {other.EDKs[0], victim.EDKs[0]},
		"broken":    {broken, other.EDKs[0]},
		"re-bound":  {{Provider: providerKMS, Info: b.key.ARN, Blob: victim.EDKs[0].Blob}},
		"unrelated": {other.EDKs[0]},
	} {
		k := b.keyring(nil)
		s, err := newSealer(make([]byte, dataKeySize), victim.Context(), edks)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Open(t.Context(), s.Header(), "key"); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: %v", name, err)
		}
		b.open(k, victim, "key")
		b.open(k, other, "key")
	}
}

// TestOtherKeysAreAskedForThemselves: a wrapped key that was opened is not
// taken for one under another KMS key.
func TestOtherKeysAreAskedForThemselves(t *testing.T) {
	b := newBench(t)
	second := b.create(kms.KeyOptions{})
	h := b.message(nil, "key")
	k := b.keyring(func(o *KeyringOptions) { o.Allowed = []string{second.ARN} })
	b.open(k, h, "key")
	s, err := newSealer(make([]byte, dataKeySize), h.Context(), []EDK{{Provider: providerKMS, Info: second.ARN, Blob: h.EDKs[0].Blob}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Open(t.Context(), s.Header(), "key")
	b.refused(err, Mismatch)
	b.open(k, h, "key")
	b.calls(0, 2)
}

// TestOtherContextsAreAskedFor: the same wrapped key in another context is for
// KMS to refuse.
func TestOtherContextsAreAskedFor(t *testing.T) {
	b := newBench(t)
	h := b.message(nil, "key")
	k := b.keyring(nil)
	b.open(k, h, "key")
	pairs := h.Context()
	pairs["team"] = "a"
	s, err := newSealer(make([]byte, dataKeySize), pairs, h.EDKs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = k.Open(t.Context(), s.Header(), "key"); !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), "context") {
		t.Errorf("error is %v", err)
	}
	b.calls(0, 2)
}

func TestCachesDoNotMixKeyrings(t *testing.T) {
	b := newBench(t)
	h := b.message(nil, "key")
	b.open(b.keyring(nil), h, "key")
	b.open(b.keyring(nil), h, "key") // may have other rights
	b.calls(0, 2)
}

// TestAnswersOfAnotherKind come from what is no KMS, or is one that mixes up
// keys.
func TestAnswersOfAnotherKind(t *testing.T) {
	b := newBench(t)
	k := b.keyring(nil)
	for name, c := range map[string]struct {
		plain []byte
		from  string
	}{
		"short key": {make([]byte, 16), b.key.ARN},
		"no key":    {nil, b.key.ARN},
		"other key": {make([]byte, dataKeySize), testKeyARN},
		"nobody":    {make([]byte, dataKeySize), ""},
	} {
		for i := range c.plain {
			c.plain[i] = 0xff
		}
		_, err := k.keep(c.plain, &c.from, b.key.ARN)
		b.refused(err, Mismatch)
		if bytes.Contains(c.plain, []byte{0xff}) {
			t.Errorf("%s: the answer's key is still in the heap", name)
		}
	}
	plain := bytes.Repeat([]byte{0xff}, dataKeySize)
	key, err := k.keep(plain, &strings.Split(b.key.ARN, "/")[1], b.key.ARN) // shortened, as some servers do
	if err != nil || bytes.Contains(plain, []byte{0xff}) || !bytes.Equal(key.bytes(), bytes.Repeat([]byte{0xff}, dataKeySize)) {
		t.Fatalf("%v; or the answer's key is still in the heap", err)
	}
	key.Release()
}
