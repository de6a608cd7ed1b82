package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha512"
)

// Labels of HKDF's Expand. The first two are those of suite 0478 (AWS Encryption
// SDK specification, "algorithm suites"), the third is our own: no message of
// the SDK is sealed under a key that it yields.
const (
	labelContent    = "\x04\x78DERIVEKEY"
	labelCommitment = "COMMITKEY"
	labelMetadata   = "kmsfs metadata v1"
)

// Bytes of a data key and of all that is derived from it.
const (
	dataKeySize    = 32
	commitmentSize = 32
)

// derived is what a data key yields for one message.
type derived struct {
	content    cipher.AEAD // seals the header and the frames
	commitment [commitmentSize]byte
	metadata   cipher.AEAD // seals what is stored beside the message
}

// derive yields the keys of the message id from the bytes of a data key. It
// keeps nothing of dk.
func derive(dk []byte, id MessageID) derived {
	prk := extract(dk, id)
	content, metadata := expand(prk, labelContent), expand(prk, labelMetadata)
	defer clear(prk)
	defer clear(content)
	defer clear(metadata)
	return derived{
		content:    newGCM(content),
		commitment: [commitmentSize]byte(expand(prk, labelCommitment)),
		metadata:   newGCM(metadata),
	}
}

// extract and expand are the halves of HKDF (RFC 5869) with SHA-512.
func extract(dk []byte, id MessageID) (prk []byte) {
	return must(hkdf.Extract(sha512.New, dk, id[:]))
}

func expand(prk []byte, label string) []byte {
	return must(hkdf.Expand(sha512.New, prk, label, dataKeySize))
}

// newGCM expands an AES-256 key. The expanded form lives in the collected heap.
func newGCM(key []byte) cipher.AEAD {
	return must(cipher.NewGCM(must(aes.NewCipher(key))))
}

// must unwraps what fails only for key and output lengths that are constants
// here.
func must[T any](v T, err error) T {
	if err != nil {
		panic("crypto: " + err.Error())
	}
	return v
}
