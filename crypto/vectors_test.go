package crypto

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"strings"
	"testing"
)

// vector is one message of testdata/commitment-test-vectors.json.
type vector struct {
	Comment    string
	Ciphertext binary64
	Header     binary64
	MessageID  binary64          `json:"message-id"`
	DataKey    binary64          `json:"decrypted-dek"`
	ContentKey binary64          `json:"content-encryption-key"` // some lack it
	Commitment binary64          // what the data key yields
	Context    map[string]string `json:"encryption-context"`
	Plain      []string          `json:"plaintext-frames"`
	Status     bool              // whether it must be decrypted
}

// binary64 is bytes in base64, with the blanks that some vectors have.
type binary64 []byte

func (b *binary64) UnmarshalText(text []byte) (err error) {
	*b, err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	return err
}

func (v vector) suite() string { return string(v.Ciphertext[1:3]) }

func (v vector) framed() bool { return v.Header[len(v.Header)-tailSize] == contentFramed }

func vectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/commitment-test-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Tests []vector }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Tests) != 46 {
		t.Fatalf("%d vectors, want 46", len(file.Tests))
	}
	return file.Tests
}

func TestVectorsDeriveKeys(t *testing.T) {
	contentKeys := 0
	for _, v := range vectors(t) {
		prk := extract(v.DataKey, MessageID(v.MessageID))
		commitment := expand(prk, labelCommitment)
		tail := v.Header[len(v.Header)-tailSize:]
		if bytes.Equal(commitment, tail[1+4:1+4+commitmentSize]) != v.Status {
			t.Errorf("%s: commitment %x, the header has %x, want the same: %v", v.Comment, commitment, tail, v.Status)
		}
		if same := bytes.Equal(commitment, v.Commitment); !same && v.Status {
			t.Errorf("%s: commitment %x, want %x", v.Comment, commitment, v.Commitment)
		} else if !same || v.ContentKey == nil {
			continue // the vector speaks of another data key than the one that it gives
		}
		contentKeys++
		label := v.suite() + "DERIVEKEY"
		if v.suite() == "\x04\x78" {
			label = labelContent
		}
		if got := expand(prk, label); !bytes.Equal(got, v.ContentKey) {
			t.Errorf("%s: content key %x, want %x", v.Comment, got, v.ContentKey)
		}
	}
	if contentKeys != 17 {
		t.Errorf("%d content keys were compared, want 17", contentKeys)
	}
}

func TestVectorsOpen(t *testing.T) {
	kinds := map[string]int{}
	for _, v := range vectors(t) {
		plain, err := io.ReadAll(readerOf(bytes.NewReader(v.Ciphertext), v.DataKey))
		switch {
		case v.suite() != "\x04\x78":
			kinds["signed"]++
			if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "signed") {
				t.Errorf("%s: %v, want ErrForeign that says it is signed", v.Comment, err)
			}
		case !v.framed():
			kinds["unframed"]++
			if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "not framed") {
				t.Errorf("%s: %v, want ErrForeign that says it is not framed", v.Comment, err)
			}
		case v.Status:
			kinds["good"]++
			if want := strings.Join(v.Plain, ""); err != nil || string(plain) != want {
				t.Errorf("%s: %q, %v, want %q", v.Comment, plain, err, want)
			}
		default:
			kinds["bad"]++
			if !errors.Is(err, ErrTampered) || len(plain) > 0 {
				t.Errorf("%s: %q, %v, want ErrTampered", v.Comment, plain, err)
			}
		}
	}
	if want := map[string]int{"signed": 23, "unframed": 3, "good": 17, "bad": 3}; !maps.Equal(kinds, want) {
		t.Errorf("vectors of each kind: %v, want %v", kinds, want)
	}
}

func TestVectorsParse(t *testing.T) {
	for _, v := range vectors(t) {
		if v.suite() != "\x04\x78" || !v.framed() {
			continue
		}
		h, err := parseHeader(v.Ciphertext)
		if err != nil {
			t.Errorf("%s: %v", v.Comment, err)
			continue
		}
		if !bytes.Equal(h.Bytes(), v.Header) || h.ID != MessageID(v.MessageID) || !maps.Equal(h.Context(), v.Context) || len(h.EDKs) == 0 {
			t.Errorf("%s: read as %+v", v.Comment, h)
		}
		if again := encodeHeader(h); !bytes.Equal(again, v.Header) {
			t.Errorf("%s: encoded as %x, want %x", v.Comment, again, v.Header)
		}
		if _, err := ParseHeader(v.Ciphertext); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: ParseHeader: %v, want ErrForeign: it is not of the profile", v.Comment, err)
		}
	}
}

// TestVectorsChanged flips every bit of the short vectors, and cuts them at every
// byte.
func TestVectorsChanged(t *testing.T) {
	for _, v := range vectors(t) {
		if v.suite() != "\x04\x78" || !v.framed() || !v.Status || len(v.Ciphertext) > 500 {
			continue
		}
		want := strings.Join(v.Plain, "")
		refused := func(changed []byte, what string, at int) {
			plain, err := io.ReadAll(readerOf(bytes.NewReader(changed), v.DataKey))
			if !errors.Is(err, ErrTampered) && !errors.Is(err, ErrForeign) {
				t.Fatalf("%s: %s %d: %v", v.Comment, what, at, err)
			}
			if !strings.HasPrefix(want, string(plain)) {
				t.Fatalf("%s: %s %d: %q was read", v.Comment, what, at, plain)
			}
		}
		for bit := range len(v.Ciphertext) * 8 {
			changed := bytes.Clone(v.Ciphertext)
			changed[bit/8] ^= 1 << (bit % 8)
			refused(changed, "flipped bit", bit)
		}
		for n := range len(v.Ciphertext) {
			refused(v.Ciphertext[:n], "cut to", n)
		}
		refused(append(bytes.Clone(v.Ciphertext), 0), "longer than", len(v.Ciphertext))
	}
}
