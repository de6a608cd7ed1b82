package kms

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// Limits of https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html, API_Decrypt.html,
// API_GenerateDataKey.html, and of the context
// https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html
const (
	maxPlaintext  = 4096
	maxCiphertext = 6144
	maxDataKey    = 1024
	maxContext    = 8192
)

type (
	encryptInput struct {
		KeyId               string
		Plaintext           []byte
		EncryptionContext   map[string]string
		EncryptionAlgorithm string
		DryRun              bool
	}
	encryptOutput struct {
		CiphertextBlob      []byte
		KeyId               string
		EncryptionAlgorithm string
	}
	decryptInput struct {
		KeyId               string
		CiphertextBlob      []byte
		EncryptionContext   map[string]string
		EncryptionAlgorithm string
		DryRun              bool
	}
	decryptOutput struct {
		KeyId               string
		Plaintext           []byte
		EncryptionAlgorithm string
		KeyMaterialId       string
	}
	dataKeyInput struct {
		KeyId             string
		EncryptionContext map[string]string
		KeySpec           string
		NumberOfBytes     *int
		DryRun            bool
	}
	dataKeyOutput struct {
		CiphertextBlob []byte
		Plaintext      []byte `json:",omitempty"`
		KeyId          string
		KeyMaterialId  string
	}
	reEncryptInput struct {
		CiphertextBlob                                            []byte
		SourceKeyId, DestinationKeyId                             string
		SourceEncryptionContext, DestinationEncryptionContext     map[string]string
		SourceEncryptionAlgorithm, DestinationEncryptionAlgorithm string
		DryRun                                                    bool
	}
	reEncryptOutput struct {
		CiphertextBlob                                            []byte
		SourceKeyId, KeyId                                        string
		SourceEncryptionAlgorithm, DestinationEncryptionAlgorithm string
		SourceKeyMaterialId, DestinationKeyMaterialId             string
	}
)

// A secret is the key material for one operation, taken out under the lock.
type secret struct {
	arn      string
	material backing
}

// sealing returns what a caller encrypts with under the key that id names.
func (s *Server) sealing(c call, id string) (secret, *wire.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, e := s.useLocked(c, id, true)
	if e != nil {
		return secret{}, e
	}
	if e := first(k.usable(), k.seals(c.op), s.rotateDueLocked(k)); e != nil {
		return secret{}, e
	}
	return secret{k.ARN, k.current()}, nil
}

// opening returns what a caller opens the blob with: under the key that id names, or the one that the blob names.
func (s *Server) opening(c call, id string, b blob) (secret, *wire.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var k *key
	var e *wire.Error
	if id != "" {
		k, e = s.useLocked(c, id, true)
	} else {
		k, e = s.ownerLocked(c, b)
	}
	if e != nil {
		return secret{}, e
	}
	if e := first(k.usable(), k.seals(c.op)); e != nil {
		return secret{}, e
	}
	material, ok := k.find(b.backing)
	if !ok {
		return secret{}, wire.Errorf(400, "IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
	}
	return secret{k.ARN, material}, nil
}

// ownerLocked finds the key that a blob names in the caller's region, whoever's it is.
func (s *Server) ownerLocked(c call, b blob) (*key, *wire.Error) {
	for arn := range s.state.Keys {
		k := s.keyLocked(arn)
		if k == nil || k.region() != c.who.Region {
			continue
		}
		if _, ok := k.find(b.backing); ok && s.authorize(c, k) == nil {
			return k, nil
		}
	}
	return nil, wire.Errorf(400, "AccessDeniedException", "User: %s is not authorized to perform: kms:%s on the resource associated with this ciphertext because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access", c.who.ARN, c.op)
}

func (s *Server) encrypt(c call, in encryptInput) (*encryptOutput, *wire.Error) {
	if in.KeyId == "" {
		return nil, missing("keyId")
	}
	if e := first(length(len(in.Plaintext), "plaintext", 1, maxPlaintext), algorithm(in.EncryptionAlgorithm, "encryptionAlgorithm"), checkContext(in.EncryptionContext)); e != nil {
		return nil, e
	}
	k, e := s.sealing(c, in.KeyId)
	if e = first(e, dryRun(in.DryRun)); e != nil {
		return nil, e
	}
	sealed, err := seal(k.material, in.EncryptionContext, in.Plaintext)
	if err != nil {
		return nil, internal(err)
	}
	return &encryptOutput{CiphertextBlob: sealed, KeyId: k.arn, EncryptionAlgorithm: symmetric}, nil
}

func (s *Server) decrypt(c call, in decryptInput) (*decryptOutput, *wire.Error) {
	if e := first(length(len(in.CiphertextBlob), "ciphertextBlob", 1, maxCiphertext), algorithm(in.EncryptionAlgorithm, "encryptionAlgorithm"), checkContext(in.EncryptionContext)); e != nil {
		return nil, e
	}
	b, err := parseBlob(in.CiphertextBlob)
	if err != nil {
		return nil, invalidCiphertext()
	}
	k, e := s.opening(c, in.KeyId, b)
	if e != nil {
		return nil, e
	}
	plaintext, err := b.open(k.material, in.EncryptionContext)
	if err != nil {
		return nil, invalidCiphertext()
	}
	if e := dryRun(in.DryRun); e != nil {
		return nil, e
	}
	return &decryptOutput{KeyId: k.arn, Plaintext: plaintext, EncryptionAlgorithm: symmetric, KeyMaterialId: hex.EncodeToString(k.material.ID)}, nil
}

func (s *Server) generateDataKey(c call, in dataKeyInput) (*dataKeyOutput, *wire.Error) {
	if in.KeyId == "" {
		return nil, missing("keyId")
	}
	if e := first(oneOf(in.KeySpec, "keySpec", "AES_256", "AES_128"), between(in.NumberOfBytes, "numberOfBytes", 1, maxDataKey), checkContext(in.EncryptionContext)); e != nil {
		return nil, e
	}
	if (in.KeySpec == "") == (in.NumberOfBytes == nil) {
		return nil, wire.Errorf(400, "ValidationException", "Please specify either number of bytes or key spec.")
	}
	size := map[string]int{"AES_256": 32, "AES_128": 16}[in.KeySpec]
	if in.NumberOfBytes != nil {
		size = *in.NumberOfBytes
	}
	k, e := s.sealing(c, in.KeyId)
	if e = first(e, dryRun(in.DryRun)); e != nil {
		return nil, e
	}
	plaintext := make([]byte, size)
	_, _ = rand.Read(plaintext) // never fails: crypto/rand documents it
	sealed, err := seal(k.material, in.EncryptionContext, plaintext)
	if err != nil {
		return nil, internal(err)
	}
	return &dataKeyOutput{CiphertextBlob: sealed, Plaintext: plaintext, KeyId: k.arn, KeyMaterialId: hex.EncodeToString(k.material.ID)}, nil
}

func (s *Server) generateDataKeyWithoutPlaintext(c call, in dataKeyInput) (*dataKeyOutput, *wire.Error) {
	out, e := s.generateDataKey(c, in)
	if e != nil {
		return nil, e
	}
	out.Plaintext = nil
	return out, nil
}

// reEncrypt needs kms:ReEncryptFrom on the source and kms:ReEncryptTo on the destination.
func (s *Server) reEncrypt(c call, in reEncryptInput) (*reEncryptOutput, *wire.Error) {
	if in.DestinationKeyId == "" {
		return nil, missing("destinationKeyId")
	}
	from, to := c, c
	from.op, to.op = "ReEncryptFrom", "ReEncryptTo"
	from.context, to.context = in.SourceEncryptionContext, in.DestinationEncryptionContext
	source, e := s.decrypt(from, decryptInput{KeyId: in.SourceKeyId, CiphertextBlob: in.CiphertextBlob,
		EncryptionContext: in.SourceEncryptionContext, EncryptionAlgorithm: in.SourceEncryptionAlgorithm})
	if e != nil {
		return nil, e
	}
	if e := first(algorithm(in.DestinationEncryptionAlgorithm, "destinationEncryptionAlgorithm"), checkContext(in.DestinationEncryptionContext)); e != nil {
		return nil, e
	}
	k, e := s.sealing(to, in.DestinationKeyId)
	if e = first(e, dryRun(in.DryRun)); e != nil {
		return nil, e
	}
	sealed, err := seal(k.material, in.DestinationEncryptionContext, source.Plaintext)
	if err != nil {
		return nil, internal(err)
	}
	return &reEncryptOutput{
		CiphertextBlob: sealed, SourceKeyId: source.KeyId, KeyId: k.arn,
		SourceEncryptionAlgorithm: symmetric, DestinationEncryptionAlgorithm: symmetric,
		SourceKeyMaterialId: source.KeyMaterialId, DestinationKeyMaterialId: hex.EncodeToString(k.material.ID),
	}, nil
}

// algorithm takes what AWS knows, and refuses what this toy cannot do.
func algorithm(value, name string) *wire.Error {
	if e := oneOf(value, name, symmetric, "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"); e != nil {
		return e
	}
	if value != "" && value != symmetric {
		return wire.Errorf(400, "UnsupportedOperationException", "this sandbox encrypts with %s only", symmetric)
	}
	return nil
}

func checkContext(context map[string]string) *wire.Error {
	size := 0
	for name, value := range context {
		size += len(name) + len(value)
		if name == "" {
			return wire.Errorf(400, "ValidationException", "Encryption context keys must not be empty.")
		}
	}
	if size > maxContext {
		return wire.Errorf(400, "ValidationException", "Encryption context is larger than %d bytes.", maxContext)
	}
	return nil
}

// dryRun ends a request that would have succeeded.
func dryRun(on bool) *wire.Error {
	if on {
		return wire.Errorf(400, "DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
	}
	return nil
}

// invalidCiphertext says no more than AWS does, which is nothing.
func invalidCiphertext() *wire.Error { return wire.Errorf(400, "InvalidCiphertextException", "") }
