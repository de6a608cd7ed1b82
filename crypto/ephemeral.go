package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Sizes of AES-256-GCM: NIST SP 800-38D, with the nonce length that needs no
// hashing.
const (
	ephemeralKeySize = 32
	nonceSize        = 12
	tagSize          = 16
)

// ErrOpen is returned for sealed bytes that are not what Seal returned: cut,
// changed, or sealed under another key.
var ErrOpen = errors.New("sealed bytes are damaged")

// ErrWiped is returned by Ephemeral.Open after Wipe.
var ErrWiped = errors.New("ephemeral key is wiped")

// Ephemeral seals bytes that leave memory only to come back to this process,
// as those of a spool file do. Its AES-256-GCM key is random, is never stored,
// and ends with Wipe or the process. All methods may be called concurrently.
type Ephemeral struct {
	sealed atomic.Uint64 // messages sealed so far; the next nonce

	mu  sync.RWMutex // held for reading while the key is in use
	key *secret      // nil after Wipe
}

// NewEphemeral returns an Ephemeral under a fresh random key.
func NewEphemeral() (*Ephemeral, error) {
	key, err := newSecret(ephemeralKeySize)
	if err != nil {
		return nil, err
	}
	_, _ = rand.Read(key.bytes()) // documented never to return an error
	return &Ephemeral{key: key}, nil
}

// Overhead is by how many bytes the sealed form is longer than the plaintext.
func (e *Ephemeral) Overhead() int { return nonceSize + tagSize }

// Seal appends the sealed form of plaintext to dst and returns the result:
// nonce, ciphertext, tag. The nonce counts the messages of this key, so no two
// sealed forms begin alike: who keeps those first 12 bytes can tell a message
// from an older one put back in its place. dst's spare capacity must not
// overlap plaintext. Seal panics after Wipe.
func (e *Ephemeral) Seal(dst, plaintext []byte) []byte {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.key == nil {
		panic("crypto: Seal after Wipe")
	}
	var nonce [nonceSize]byte
	binary.BigEndian.PutUint64(nonce[nonceSize-8:], e.sealed.Add(1))
	return e.aead().Seal(append(dst, nonce[:]...), nonce[:], plaintext, nil)
}

// Open appends the plaintext of sealed to dst and returns the result. Nothing
// is appended unless every byte is proved genuine. dst's spare capacity must
// not overlap sealed.
func (e *Ephemeral) Open(dst, sealed []byte) ([]byte, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.key == nil {
		return nil, ErrWiped
	}
	if len(sealed) < e.Overhead() {
		return nil, fmt.Errorf("open %d sealed bytes: %w", len(sealed), ErrOpen)
	}
	plain, err := e.aead().Open(dst, sealed[:nonceSize], sealed[nonceSize:], nil)
	if err != nil {
		return nil, fmt.Errorf("open %d sealed bytes: %w", len(sealed), ErrOpen)
	}
	return plain, nil
}

// aead expands the key anew for each message, which costs less than a
// microsecond: the expanded form lives in the collected heap, which no one can
// wipe, and should not stay there as long as the key does.
func (e *Ephemeral) aead() cipher.AEAD {
	block, err := aes.NewCipher(e.key.bytes())
	if err != nil {
		panic("crypto: " + err.Error()) // the key length is a constant
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("crypto: " + err.Error()) // AES has the block size that GCM wants
	}
	return aead
}

// Wipe waits for calls in progress and destroys the key: what was sealed under
// it is lost. Wiping twice is allowed.
func (e *Ephemeral) Wipe() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.key != nil {
		e.key.wipe()
		e.key = nil
	}
}
