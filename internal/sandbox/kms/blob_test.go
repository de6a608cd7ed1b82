package kms

import (
	"bytes"
	"errors"
	"testing"
)

func FuzzParseBlob(f *testing.F) {
	k := newBacking()
	for _, plaintext := range []string{"", "x", "a longer plaintext"} {
		raw, err := seal(k, map[string]string{"a": "b"}, []byte(plaintext))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte("kmsfs-toy\x01"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := parseBlob(raw)
		if err != nil {
			if !errors.Is(err, errBlob) {
				t.Errorf("error %v", err)
			}
			return
		}
		if again := b.bytes(); !bytes.Equal(again, raw) {
			t.Errorf("%x parses and writes as %x", raw, again)
		}
		if _, err := b.open(k, map[string]string{"b": "a"}); err == nil {
			t.Errorf("%x opens under a context that it was not sealed under", raw)
		}
	})
}

// TestAdditional: no two contexts give the same additional data, however their names and values join up.
func TestAdditional(t *testing.T) {
	contexts := []map[string]string{nil}
	values := []string{"", "a", "b", "ab"}
	for _, one := range values {
		contexts = append(contexts, map[string]string{"a": one}, map[string]string{"b": one}, map[string]string{"ab": one})
		for _, two := range values {
			contexts = append(contexts, map[string]string{"a": one, "b": two}, map[string]string{"a": one, "ab": two}, map[string]string{"ab": one, "b": two})
		}
	}
	seen := map[string]map[string]string{}
	for _, context := range contexts {
		bound := string(blob{}.additional(context))
		if other, ok := seen[bound]; ok {
			t.Errorf("%q and %q give the same additional data", context, other)
		}
		seen[bound] = context
	}
}
