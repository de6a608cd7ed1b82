package kms

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
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

// TestAdditional: different contexts never give the same additional data.
func TestAdditional(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		context := rapid.MapOfN(rapid.StringN(1, 3, -1), rapid.StringN(0, 3, -1), 0, 3)
		a, b := context.Draw(t, "a"), context.Draw(t, "b")
		same := len(a) == len(b)
		for name, value := range a {
			other, ok := b[name]
			same = same && ok && other == value
		}
		var x blob
		if got := bytes.Equal(x.additional(a), x.additional(b)); got != same {
			t.Errorf("%q and %q: additional data equal: %v", a, b, got)
		}
	})
}
