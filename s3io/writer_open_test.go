package s3io

import (
	"context"
	"crypto/sha256"
	"encoding/binary"

	"github.com/kmsfs/kmsfs/crypto"
)

// require is what *testing.T and *rapid.T have in common.
type require interface {
	Helper()
	Fatalf(format string, args ...any)
}

// nonce is what must never be used for two different frames.
type nonce struct {
	id crypto.MessageID
	iv [12]byte
}

// opened returns the content of a sealed object, read by the letter of the
// format. No two frames that it ever saw have one nonce.
func (r *rig) opened(t require, key string, object []byte) []byte {
	t.Helper()
	h, err := crypto.ParseHeader(object)
	if err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	open, err := r.b.keys.Open(context.Background(), h, r.b.full(key))
	if err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	size, ok := crypto.PlainSize(int64(len(object)))
	if !ok {
		t.Fatalf("%q has %d bytes, which no sealed object has", key, len(object))
	}
	once := func(used nonce, what []byte) {
		sum := sha256.Sum256(what)
		if before, seen := r.frames[used]; seen && before != sum {
			t.Fatalf("%q: two headers or frames have one nonce", key)
		}
		r.frames[used] = sum
	}
	once(nonce{id: h.ID}, h.Bytes())
	plain := make([]byte, 0, size)
	rest := object[crypto.HeaderSize:]
	for n := uint32(1); ; n++ {
		final := binary.BigEndian.Uint32(rest) == 1<<32-1
		frame, iv := rest, [12]byte(rest[8:])
		if !final {
			frame, iv = rest[:crypto.Stride], [12]byte(rest[4:])
		}
		if plain, err = open.Open(plain, frame, n, final); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		once(nonce{h.ID, iv}, frame)
		if final {
			break
		}
		rest = rest[len(frame):]
	}
	if int64(len(plain)) != size {
		t.Fatalf("%q has %d bytes of content, its size says %d", key, len(plain), size)
	}
	return plain
}
