package harness

import (
	"encoding/base64"
	"encoding/hex"
	"testing"
)

// What looks for plaintext must find it.
func TestShownFindsEveryRun(t *testing.T) {
	for from := range 40 {
		piece := Marked(100)[from : from+18]
		for what, b := range map[string][]byte{
			"as it is":       append([]byte("other"), piece...),
			"in hexadecimal": []byte(hex.EncodeToString(piece)),
			"in base64":      []byte(base64.RawURLEncoding.EncodeToString(append([]byte("xxx"), piece...))),
		} {
			if got := Shown(b); got != what {
				t.Errorf("from %d, %s: shown %q", from, what, got)
			}
		}
	}
	if got := Shown(Marked(15)); got != "" {
		t.Errorf("15 bytes are shown %q", got)
	}
	if got := Shown(Random(1, 1<<20)); got != "" {
		t.Errorf("random bytes are shown %q", got)
	}
}
