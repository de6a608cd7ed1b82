package crypto

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// boundTo is the name of the pair that binds a message to a bucket or an
// object, the one that S3 uses for its own bucket keys and objects.
const boundTo = "aws:s3:arn"

// checkPairs refuses user pairs that could not be told from the pairs of
// others: https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/concepts.html#encryption-context
func checkPairs(pairs map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		switch {
		case name == "":
			return fmt.Errorf("encryption context: a pair has no name; write --encryption-context NAME=VALUE")
		case name == boundTo, strings.HasPrefix(name, "aws-crypto-"):
			return fmt.Errorf("encryption context: the name %q is reserved; choose another in --encryption-context", name)
		}
	}
	return nil
}

// pairs returns the encryption context of new messages for the object of that
// key.
func (k *Keyring) pairs(key string) map[string]string {
	p := maps.Clone(k.o.Context)
	if p == nil {
		p = map[string]string{}
	}
	p[boundTo] = k.o.Bucket
	if k.o.Scope == ScopeObject {
		p[boundTo] += "/" + key
	}
	return p
}

// checkContext refuses messages that are bound to something else than the
// object of that key, or its bucket where that is enough.
func (k *Keyring) checkContext(h *Header, key string) error {
	bound, ok := h.context[boundTo]
	fits := func(bucket string) bool {
		return bound == bucket+"/"+key || bound == bucket && k.o.Scope == ScopeBucket
	}
	if k.o.AnyContext || ok && (fits(k.o.Bucket) || slices.ContainsFunc(k.o.Accept, fits)) {
		return nil
	}
	want := k.o.Bucket
	if k.o.Scope == ScopeObject {
		want += "/" + key
	}
	e := &KeyError{ID: h.key(), Reason: NotAccepted,
		Detail: fmt.Sprintf("wraps a data key that is bound to %q, not to %q", bound, want),
		Remedy: "accept copies from another bucket with --accept-context-bucket, and objects that were renamed with --context-scope=bucket"}
	if !ok {
		e.Detail = fmt.Sprintf("wraps a data key that is bound to no bucket: its encryption context has no %q", boundTo)
		e.Remedy = "open it with `kmsfs decrypt`"
	}
	return e
}

// accepts returns the ARN of the KMS key to ask for e: of one that is accepted,
// or of its replica that is.
func (k *Keyring) accepts(e EDK) (arn string, ok bool) {
	switch {
	case e.Provider != providerKMS || checkKeyARN(e.Info) != nil:
		return "", false
	case k.o.AnyKey || slices.Contains(k.accepted, e.Info):
		return e.Info, true
	}
	i := slices.IndexFunc(k.accepted, func(arn string) bool { return sameKey(arn, e.Info) })
	if i < 0 {
		return "", false
	}
	return k.accepted[i], true
}

// id names a data key in the cache by all that KMS would look at: each wrapped
// form with its KMS key, and the context. All forms, because any of them may
// have yielded the key: a header that adds one to ours must not meet our entry.
// All fields have their length before them, and the context is the last one.
func (k *Keyring) id(edks []EDK, pairs map[string]string) [32]byte {
	var b []byte
	add := func(field []byte) { b = append(binary.BigEndian.AppendUint32(b, uint32(len(field))), field...) }
	add(k.partition[:])
	for _, e := range edks {
		if e.Provider == providerKMS {
			add([]byte(e.Info))
			add(e.Blob)
		}
	}
	add(appendContext(nil, pairs))
	return sha256.Sum256(b)
}

// key returns the KMS key that h names first, "" if none.
func (h *Header) key() string {
	for _, e := range h.EDKs {
		if e.Provider == providerKMS {
			return e.Info
		}
	}
	return ""
}
