package crypto

import "context"

// Rewrapped is an entry of the rewrap registry: the data key that Old wraps, as
// New.
type Rewrapped struct {
	Old, New EDK
}

// Name returns the name of the entry's file in the registry.
func (r Rewrapped) Name() string { return RewrapName(r.Old.Blob) }

// RewrapName returns the name of the registry's file about a wrapped data key,
// "<SHA-256 in hex>.json".
func RewrapName(blob []byte) string { return "" }

// EncodeRewrap returns what the registry's file holds: {"kms_key":ARN,"blob":BASE64}.
func EncodeRewrap(e EDK) []byte { return nil }

// ParseRewrap is the inverse of EncodeRewrap. Its error wraps ErrTampered.
func ParseRewrap(b []byte) (EDK, error) { return EDK{}, errSkeleton }

// Rewrap has KMS wrap the data key of the object of that key anew, under the
// KMS key whose ARN is to and with the same context. It asks for one EDK of h,
// which is enough for readers; ok is false where h, or the registry, has one
// under that key already. The same rules as those of Open say what h may be.
func (k *Keyring) Rewrap(ctx context.Context, h *Header, key, to string) (r Rewrapped, ok bool, err error) {
	return Rewrapped{}, false, errSkeleton
}
