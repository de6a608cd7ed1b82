package crypto

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
)

// Rewrapped is an entry of the rewrap registry: the data key that Old wraps, as
// New.
type Rewrapped struct {
	Old, New EDK
}

// Name returns the name of the entry's file in the registry.
func (r Rewrapped) Name() string { return RewrapName(r.Old.Blob) }

// RewrapName returns the name of the registry's file about a wrapped data key,
// "<SHA-256 in hex>.json".
func RewrapName(blob []byte) string {
	sum := sha256.Sum256(blob)
	return hex.EncodeToString(sum[:]) + ".json"
}

// Bounds of the registry's files.
const (
	maxBlob   = 6144     // bytes of a ciphertext that KMS takes
	maxRewrap = 16 << 10 // bytes of a file
)

// rewrapFile is what the registry's file holds, as JSON.
type rewrapFile struct {
	Key  string `json:"kms_key"`
	Blob []byte `json:"blob"`
}

// EncodeRewrap returns what the registry's file holds: {"kms_key":ARN,"blob":BASE64}.
func EncodeRewrap(e EDK) []byte {
	return append(must(json.Marshal(rewrapFile{e.Info, e.Blob})), '\n')
}

// ParseRewrap is the inverse of EncodeRewrap. Its error wraps ErrTampered.
func ParseRewrap(b []byte) (EDK, error) {
	if len(b) > maxRewrap {
		return EDK{}, fmt.Errorf("rewrapped data key: %d bytes: %w", len(b), ErrTampered)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var f rewrapFile
	err := d.Decode(&f)
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			err = fmt.Errorf("something follows")
		}
	}
	if err == nil {
		err = checkKeyARN(f.Key)
	}
	if err == nil && (len(f.Blob) == 0 || len(f.Blob) > maxBlob) {
		err = fmt.Errorf("a ciphertext of %d bytes", len(f.Blob))
	}
	if err != nil {
		return EDK{}, fmt.Errorf("rewrapped data key: %v: %w", err, ErrTampered)
	}
	return EDK{Provider: providerKMS, Info: f.Key, Blob: f.Blob}, nil
}

// Rewrap has KMS wrap the data key of the object of that key anew, under the
// KMS key whose ARN is to and with the same context. It does so for one EDK of
// h, which is enough for readers; ok is false where h, or the registry, has one
// under that key already. The same rules as those of Open say what h may be.
func (k *Keyring) Rewrap(ctx context.Context, h *Header, key, to string) (r Rewrapped, ok bool, err error) {
	if err := k.enter(); err != nil {
		return Rewrapped{}, false, err
	}
	defer k.running.Done()
	if err := checkKeyARN(to); err != nil {
		return Rewrapped{}, false, err
	}
	if err := k.checkReading(h); err != nil {
		return Rewrapped{}, false, err
	}
	if err := k.checkContext(h, key); err != nil {
		return Rewrapped{}, false, err
	}
	if there, err := k.under(ctx, h, to); there || err != nil {
		return Rewrapped{}, false, err
	}
	err = k.try(ctx, h, func(arn string, old, e EDK) error {
		renewed, err := k.reEncrypt(ctx, arn, e, h.context, to)
		r = Rewrapped{Old: old, New: renewed}
		return err
	})
	if err != nil {
		return Rewrapped{}, false, err
	}
	return r, true, nil
}

// under reports whether h or the registry wraps h's data key by the KMS key to.
func (k *Keyring) under(ctx context.Context, h *Header, to string) (bool, error) {
	for _, e := range h.EDKs {
		if e.Provider != providerKMS {
			continue
		}
		if sameKey(e.Info, to) {
			return true, nil
		}
		renewed, ok, err := k.registered(ctx, e)
		if err != nil || ok && sameKey(renewed.Info, to) {
			return ok, err
		}
	}
	return false, nil
}

// registered asks the rewrap registry, if there is one.
func (k *Keyring) registered(ctx context.Context, old EDK) (EDK, bool, error) {
	if k.o.Rewrapped == nil {
		return EDK{}, false, nil
	}
	ctx, cancel := k.bounded(ctx)
	defer cancel()
	e, ok, err := k.o.Rewrapped(ctx, old)
	return e, ok && err == nil, asKeyError(old.Info, "may have been replaced, but the rewrap registry could not be read", err)
}
