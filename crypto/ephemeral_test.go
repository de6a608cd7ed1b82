package crypto

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func newEphemeral(t *testing.T) *Ephemeral {
	t.Helper()
	e, err := NewEphemeral()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Wipe)
	return e
}

func TestEphemeralOpensWhatItSealed(t *testing.T) {
	e := newEphemeral(t)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 0, 4096).Draw(t, "plain")
		head := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "head")
		sealed := e.Seal(bytes.Clone(head), plain)
		if len(sealed) != len(head)+len(plain)+e.Overhead() {
			t.Fatalf("sealed form has %d bytes", len(sealed))
		}
		if !bytes.HasPrefix(sealed, head) {
			t.Fatal("Seal changed what dst held")
		}
		got, err := e.Open(bytes.Clone(head), sealed[len(head):])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, append(head, plain...)) {
			t.Fatal("Open returned other bytes")
		}
	})
}

func TestEphemeralRefusesDamage(t *testing.T) {
	e := newEphemeral(t)
	rapid.Check(t, func(t *rapid.T) {
		sealed := e.Seal(nil, rapid.SliceOfN(rapid.Byte(), 0, 512).Draw(t, "plain"))
		switch rapid.SampledFrom([]string{"flip", "cut", "extend"}).Draw(t, "damage") {
		case "flip":
			i := rapid.IntRange(0, len(sealed)*8-1).Draw(t, "bit")
			sealed[i/8] ^= 1 << (i % 8)
		case "cut":
			sealed = sealed[:rapid.IntRange(0, len(sealed)-1).Draw(t, "length")]
		case "extend":
			sealed = append(sealed, 0)
		}
		got, err := e.Open(nil, sealed)
		if !errors.Is(err, ErrOpen) || got != nil {
			t.Fatalf("Open of damaged bytes: %d bytes, %v", len(got), err)
		}
	})
}

func TestEphemeralKeysDiffer(t *testing.T) {
	sealed := newEphemeral(t).Seal(nil, []byte("secret"))
	if _, err := newEphemeral(t).Open(nil, sealed); !errors.Is(err, ErrOpen) {
		t.Fatalf("another key opened it: %v", err)
	}
}

func TestEphemeralNoncesNeverRepeat(t *testing.T) {
	e := newEphemeral(t)
	const goroutines, each = 16, 500
	nonces := make([][][nonceSize]byte, goroutines)
	var wg sync.WaitGroup
	for g := range nonces {
		wg.Go(func() {
			for range each {
				nonces[g] = append(nonces[g], [nonceSize]byte(e.Seal(nil, nil)))
			}
		})
	}
	wg.Wait()
	seen := make(map[[nonceSize]byte]bool)
	for _, list := range nonces {
		for _, n := range list {
			if seen[n] {
				t.Fatalf("nonce %x used twice", n)
			}
			seen[n] = true
		}
	}
	if len(seen) != goroutines*each {
		t.Fatalf("%d nonces for %d messages", len(seen), goroutines*each)
	}
}

func TestEphemeralWipe(t *testing.T) {
	e := newEphemeral(t)
	sealed := e.Seal(nil, []byte("secret"))
	e.Wipe()
	e.Wipe()
	if _, err := e.Open(nil, sealed); !errors.Is(err, ErrWiped) {
		t.Fatalf("Open after Wipe: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Fatal("Seal after Wipe went through")
		}
	}()
	e.Seal(nil, nil)
}

// TestEphemeralWipeWaits lets Wipe race with users of the key: a use must end
// as if it had come wholly before or wholly after, not in a fault on an
// unmapped page.
func TestEphemeralWipeWaits(t *testing.T) {
	e := newEphemeral(t)
	sealed := e.Seal(nil, make([]byte, 1<<16))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				if _, err := e.Open(nil, sealed); err != nil {
					if !errors.Is(err, ErrWiped) {
						t.Errorf("Open during Wipe: %v", err)
					}
					return
				}
			}
		})
	}
	e.Wipe()
	wg.Wait()
}

func TestSecretIsZeroedPage(t *testing.T) {
	s, err := newSecret(ephemeralKeySize)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.bytes()) != ephemeralKeySize || !bytes.Equal(s.bytes(), make([]byte, ephemeralKeySize)) {
		t.Fatalf("new secret holds %x", s.bytes())
	}
	s.wipe()
	if s.bytes() != nil {
		t.Fatal("a wiped secret still has bytes")
	}
}

func BenchmarkEphemeralSeal(b *testing.B) {
	e, err := NewEphemeral()
	if err != nil {
		b.Fatal(err)
	}
	defer e.Wipe()
	plain := make([]byte, 1<<16)
	dst := make([]byte, 0, len(plain)+e.Overhead())
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		e.Seal(dst, plain)
	}
}
