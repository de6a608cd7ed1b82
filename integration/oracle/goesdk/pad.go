package main

import (
	"fmt"

	mpl "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographymaterialproviderssmithygeneratedtypes"
)

// The profile's sizes, and the provider and info of the data key that fills
// the header.
const (
	headerSize  = 1024
	frameLength = 64 << 10
	padProvider = "kmsfs-pad"
	padInfo     = "v1"
)

// pad adds a last data key of zeros, which fills the header to headerSize.
type pad struct{}

// OnEncrypt appends the pad behind the data keys of other keyrings.
func (pad) OnEncrypt(in mpl.OnEncryptInput) (*mpl.OnEncryptOutput, error) {
	m := in.Materials
	size := 1 + 2 + 32 + 2 + 2 + 2 + 1 + 4 + 32 + 16 // the fixed fields
	for k, v := range m.EncryptionContext {
		size += 2 + len(k) + 2 + len(v)
	}
	for _, e := range m.EncryptedDataKeys {
		size += 2 + len(e.KeyProviderId) + 2 + len(e.KeyProviderInfo) + 2 + len(e.Ciphertext)
	}
	size += 2 + len(padProvider) + 2 + len(padInfo) + 2
	if size >= headerSize {
		return nil, fmt.Errorf("the header is %d bytes too long", size+1-headerSize)
	}
	m.EncryptedDataKeys = append(m.EncryptedDataKeys, mpl.EncryptedDataKey{
		KeyProviderId: padProvider, KeyProviderInfo: []byte(padInfo), Ciphertext: make([]byte, headerSize-size),
	})
	return &mpl.OnEncryptOutput{Materials: m}, nil
}

// OnDecrypt opens nothing.
func (pad) OnDecrypt(in mpl.OnDecryptInput) (*mpl.OnDecryptOutput, error) {
	return &mpl.OnDecryptOutput{Materials: in.Materials}, nil
}
