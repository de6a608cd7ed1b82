package crypto

import (
	"bytes"
	"os"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func newTestVault(t interface{ Fatal(...any) }) *vault {
	v, err := newVault(false, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// filled returns a data key whose bytes are all b.
func filled(t interface{ Fatal(...any) }, v *vault, b byte) *DataKey {
	key, err := v.store(bytes.Repeat([]byte{b}, dataKeySize), "group")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestDataKeyIsWipedByTheLastRelease looks at the memory itself.
func TestDataKeyIsWipedByTheLastRelease(t *testing.T) {
	v := newTestVault(t)
	defer v.close()
	key := filled(t, v, 0xa5)
	memory := key.bytes()
	if !key.Acquire() || key.Group() != "group" {
		t.Fatal("a new key cannot be acquired")
	}
	key.Release()
	if !bytes.Equal(memory, bytes.Repeat([]byte{0xa5}, dataKeySize)) {
		t.Error("wiped while it was held")
	}
	key.Release()
	if !bytes.Equal(memory, make([]byte, dataKeySize)) {
		t.Errorf("after the last release its memory holds %x", memory)
	}
	if key.Acquire() {
		t.Error("a wiped key was acquired")
	}
	defer func() {
		if recover() == nil {
			t.Error("released more often than acquired, and nothing happened")
		}
	}()
	key.Release()
}

func TestVaultKeepsManyKeysInFewPages(t *testing.T) {
	v := newTestVault(t)
	const n = 10_000
	keys := make([]*DataKey, n)
	for i := range keys {
		keys[i] = filled(t, v, byte(i))
	}
	if most := n*dataKeySize/os.Getpagesize() + 1; len(v.pages) > most {
		t.Errorf("%d pages for %d keys, want %d", len(v.pages), n, most)
	}
	for i, key := range keys {
		if !bytes.Equal(key.bytes(), bytes.Repeat([]byte{byte(i)}, dataKeySize)) {
			t.Fatalf("key %d is not what was stored", i)
		}
		key.Release()
	}
	if len(v.pages) != 1 || !bytes.Equal(v.pages[0].bytes(), make([]byte, v.size)) {
		t.Errorf("%d pages are left, or keys in them", len(v.pages))
	}
	v.close()
	if len(v.pages) != 0 {
		t.Errorf("%d pages are left after close", len(v.pages))
	}
}

// TestVaultHoldsWhatItIsGiven compares it with a map, through any order of
// stores and releases.
func TestVaultHoldsWhatItIsGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := &vault{size: 2048, warn: func(string) {}} // 64 keys to a page
		defer v.close()
		held := map[*DataKey]byte{}
		var order []*DataKey
		t.Repeat(map[string]func(*rapid.T){
			"store": func(t *rapid.T) {
				b := rapid.Byte().Draw(t, "byte")
				for range rapid.IntRange(1, 100).Draw(t, "count") {
					key := filled(t, v, b)
					held[key] = b
					order = append(order, key)
				}
			},
			"release": func(t *rapid.T) {
				for range rapid.IntRange(0, len(order)).Draw(t, "count") {
					i := rapid.IntRange(0, len(order)-1).Draw(t, "which")
					order[i].Release()
					delete(held, order[i])
					order = slices.Delete(order, i, i+1)
				}
			},
			"": func(t *rapid.T) {
				for key, b := range held {
					if !bytes.Equal(key.bytes(), bytes.Repeat([]byte{b}, dataKeySize)) {
						t.Fatal("a key is not what was stored")
					}
				}
				inUse, empty := 0, 0
				for _, p := range v.pages {
					inUse += p.keys
					if p.keys == 0 {
						empty++
					}
				}
				if inUse != len(held) || empty > 1 {
					t.Fatalf("%d slots for %d keys, %d empty pages", inUse, len(held), empty)
				}
			},
		})
		for _, key := range order {
			key.Release()
		}
	})
}

func TestDataKeyConcurrentUse(t *testing.T) {
	v := newTestVault(t)
	defer v.close()
	key := filled(t, v, 1)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 { // it may end earlier, when none of them happens to hold the key
				if !key.Acquire() {
					return
				}
				if key.bytes()[0] != 1 {
					t.Error("wiped while it was held")
				}
				own := filled(t, v, 2)
				own.Release()
				key.Release()
			}
		})
	}
	key.Release()
	wg.Wait()
}
