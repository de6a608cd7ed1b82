package crypto

import (
	"crypto/rand"
	"fmt"
)

// SealMetadata seals bytes that are stored beside the message, under a key of
// their own: a random IV, the ciphertext, the tag. label says what they are
// and is authenticated.
func (o *Opener) SealMetadata(label string, plaintext []byte) []byte {
	iv := make([]byte, nonceSize, nonceSize+len(plaintext)+tagSize)
	rand.Read(iv) // never fails
	return o.keys.metadata.Seal(iv, iv, plaintext, []byte(label))
}

// OpenMetadata is the inverse of SealMetadata. Its error is ErrTampered.
func (o *Opener) OpenMetadata(label string, sealed []byte) ([]byte, error) {
	if len(sealed) < nonceSize+tagSize {
		return nil, fmt.Errorf("metadata: %w", ErrTampered)
	}
	plain, err := o.keys.metadata.Open(nil, sealed[:nonceSize], sealed[nonceSize:], []byte(label))
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", ErrTampered)
	}
	return plain, nil
}
