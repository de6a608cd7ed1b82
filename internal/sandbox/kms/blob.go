package kms

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

// The form of a ciphertext blob: magic, id of the backing key, nonce, AES-256-GCM ciphertext with its tag. Additional
// data are the first two fields and the encryption context.
const (
	backingSize = 32
	nonceSize   = 12
	tagSize     = 16
)

// magic tells a blob of this toy from anything that AWS made.
var magic = [...]byte{'k', 'm', 's', 'f', 's', '-', 't', 'o', 'y', 1}

// errBlob says that a blob is not one, was altered, or belongs to another encryption context: AWS does not tell which.
var errBlob = errors.New("ciphertext blob is malformed or does not authenticate")

// A blob is a parsed ciphertext blob. Its slices alias what was parsed.
type blob struct {
	backing []byte // id of the backing key
	nonce   []byte
	sealed  []byte // ciphertext and tag
}

// parseBlob splits raw into its fields.
func parseBlob(raw []byte) (blob, error) {
	rest, ok := bytes.CutPrefix(raw, magic[:])
	if !ok || len(rest) <= backingSize+nonceSize+tagSize {
		return blob{}, errBlob
	}
	return blob{rest[:backingSize], rest[backingSize : backingSize+nonceSize], rest[backingSize+nonceSize:]}, nil
}

// bytes is the inverse of parseBlob.
func (b blob) bytes() []byte { return slices.Concat(magic[:], b.backing, b.nonce, b.sealed) }

// seal encrypts plaintext under a backing key.
func seal(k backing, context map[string]string, plaintext []byte) ([]byte, error) {
	b := blob{backing: k.ID, nonce: make([]byte, nonceSize)}
	_, _ = rand.Read(b.nonce)
	aead, err := newGCM(k.Key)
	if err != nil {
		return nil, err
	}
	b.sealed = aead.Seal(nil, b.nonce, plaintext, b.additional(context))
	return b.bytes(), nil
}

// open decrypts the blob under the backing key that it names.
func (b blob) open(k backing, context map[string]string) ([]byte, error) {
	aead, err := newGCM(k.Key)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, b.nonce, b.sealed, b.additional(context))
	if err != nil {
		return nil, errBlob
	}
	return plaintext, nil
}

// additional binds the header and every pair of the context, in the order of names and with their lengths, so that no
// two contexts give the same bytes.
func (b blob) additional(context map[string]string) []byte {
	out := slices.Concat(magic[:], b.backing)
	for _, name := range slices.Sorted(maps.Keys(context)) {
		for _, s := range []string{name, context[name]} {
			out = binary.BigEndian.AppendUint32(out, uint32(len(s)))
			out = append(out, s...)
		}
	}
	return out
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
