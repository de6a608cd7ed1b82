package crypto

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden is one object of testdata/golden. Bytes are hexadecimal.
type golden struct {
	File       string
	DataKey    hexBytes          `json:"data_key"`
	MessageID  hexBytes          `json:"message_id"`
	Context    map[string]string `json:"context"`
	KMSKey     string            `json:"kms_key"`
	Blob       hexBytes          `json:"blob"` // stands for what KMS made of the data key
	ContentKey hexBytes          `json:"content_key"`
	Commitment hexBytes          `json:"commitment"`
	Plain      string            `json:"plain"`   // once
	Repeat     int               `json:"repeat"`  // how often that is the content
	Spliced    bool              `json:"spliced"` // has random IVs: is read, not made anew
	Full       bool              `json:"full"`    // its final frame is full
	Compact    string            `json:"kmsfs-h"` // user metadata: base64url without padding
	Xattr      string            `json:"kmsfs-x"` // sealed metadata, likewise
	XattrPlain string            `json:"kmsfs-x_plain"`
}

type hexBytes []byte

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

func (g golden) plain() []byte { return []byte(strings.Repeat(g.Plain, g.Repeat)) }

func goldens(t testing.TB) map[string]golden {
	t.Helper()
	text, err := os.ReadFile("testdata/golden/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []golden
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	all := map[string]golden{}
	for _, g := range list {
		all[g.File] = g
	}
	files, err := filepath.Glob("testdata/golden/*.kmsfs")
	if err != nil || len(files) != len(all) || len(all) != 5 {
		t.Fatalf("%d files, %d descriptions, %v", len(files), len(all), err)
	}
	return all
}

func (g golden) object(t testing.TB) []byte {
	t.Helper()
	object, err := os.ReadFile(filepath.Join("testdata/golden", g.File))
	if err != nil {
		t.Fatal(err)
	}
	return object
}

func TestGoldenObjectsOpen(t *testing.T) {
	for name, g := range goldens(t) {
		object := g.object(t)
		if size, ok := PlainSize(int64(len(object))); !ok || size != int64(len(g.plain())) {
			t.Errorf("%s: its size says %d bytes, %v", name, size, ok)
		}
		if got, err := io.ReadAll(readerOf(bytes.NewReader(object), g.DataKey)); err != nil || !bytes.Equal(got, g.plain()) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		h, err := ParseHeader(object)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		edks := []EDK{{providerKMS, g.KMSKey, g.Blob}}
		if h.ID != MessageID(g.MessageID) || !maps.Equal(h.Context(), g.Context) || !cmp.Equal(h.EDKs, edks) {
			t.Errorf("%s: read as %+v", name, h)
		}
		compact, err := base64.RawURLEncoding.DecodeString(g.Compact)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ExpandHeader(compact); err != nil || !back.Equal(h) {
			t.Errorf("%s: kmsfs-h is of another header: %v", name, err)
		}
		o, err := newOpener(g.DataKey, h)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		xattr, err := base64.RawURLEncoding.DecodeString(g.Xattr)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := o.OpenMetadata("xattr", xattr); err != nil || string(got) != g.XattrPlain {
			t.Errorf("%s: kmsfs-x: %q, %v", name, got, err)
		}
	}
}

// TestGoldenObjectsAreMadeAgain makes the same objects of the same input.
func TestGoldenObjectsAreMadeAgain(t *testing.T) {
	for name, g := range goldens(t) {
		s := fixedMessage(t, g.DataKey, MessageID(g.MessageID), g.Context, EDK{providerKMS, g.KMSKey, g.Blob})
		object := g.object(t)
		if g.Spliced {
			object, g.Plain = object[:HeaderSize], ""
		}
		if got := sealAll(s, g.plain(), g.Full); !bytes.HasPrefix(got, object) || !g.Spliced && len(got) != len(object) {
			t.Errorf("%s: other bytes", name)
		}
		if got := base64.RawURLEncoding.EncodeToString(s.Header().Compact()); got != g.Compact {
			t.Errorf("%s: kmsfs-h is %s, want %s", name, got, g.Compact)
		}
		prk := extract(g.DataKey, MessageID(g.MessageID))
		if !bytes.Equal(expand(prk, labelContent), g.ContentKey) || !bytes.Equal(expand(prk, labelCommitment), g.Commitment) {
			t.Errorf("%s: other keys", name)
		}
	}
}

// TestFormatDocument compares the example of docs/FORMAT.md with the object that
// it shows, and its table of sizes with the formula.
func TestFormatDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	g := goldens(t)["hello.kmsfs"]
	_, example, _ := strings.Cut(string(text), "\n## An example\n")
	if !strings.Contains(example, "`"+hex.EncodeToString(g.ContentKey)+"`") {
		t.Error("the example has another content key")
	}
	object, shown := g.object(t), 0
	line := regexp.MustCompile(`(?m)^ *(\d+)  ([0-9a-f]{2}[0-9a-f. ]*?)(?:  .*)?$`)
	for _, m := range line.FindAllStringSubmatch(example, -1) {
		at, _ := strconv.Atoi(m[1])
		digits, _, _ := strings.Cut(strings.ReplaceAll(m[2], " ", ""), "..")
		if b, err := hex.DecodeString(digits); err != nil || !bytes.HasPrefix(object[at:], b) {
			t.Errorf("the example shows %s at %d, it is %x: %v", digits, at, object[at:][:len(digits)/2], err)
		}
		shown++
	}
	if shown < 20 {
		t.Errorf("only %d lines of the example were found", shown)
	}
	rows := 0
	for _, m := range regexp.MustCompile(`(?m)^\| ([\d,]+) \| ([\d,]+)`).FindAllStringSubmatch(string(text), -1) {
		plain, _ := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
		sealed, _ := strconv.ParseInt(strings.ReplaceAll(m[2], ",", ""), 10, 64)
		if sealed < MinSealedSize {
			continue // a row of another table
		}
		if got, ok := PlainSize(sealed); !ok || got != plain {
			t.Errorf("the document says %s for %s bytes", m[2], m[1])
		}
		rows++
	}
	if rows != 6 {
		t.Errorf("%d sizes were compared", rows)
	}
}
