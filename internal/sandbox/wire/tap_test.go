package wire

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// random returns bytes that do not repeat themselves, the same for one seed.
func random(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func mark(t testing.TB, pieces ...[]byte) *Search {
	t.Helper()
	s, err := NewSearch(pieces...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSearchFindsEveryRun hides marked bytes anywhere in a stream that comes
// in pieces: 16 are found and 15 are not.
func TestSearchFindsEveryRun(t *testing.T) {
	marked := [][]byte{random(1, 16), random(2, 31), random(3, 1000), random(4, 77)}
	s, err := NewSearch(marked...)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SampledFrom(marked).Draw(t, "piece")
		size := rapid.SampledFrom([]int{15, 16, 17, 40}).Draw(t, "size")
		size = min(size, len(piece))
		from := rapid.IntRange(0, len(piece)-size).Draw(t, "from")
		before := random(rapid.Uint64Range(100, 200).Draw(t, "seed"), rapid.IntRange(0, 50).Draw(t, "before"))
		after := random(5, rapid.IntRange(0, 50).Draw(t, "after"))
		if len(before) > 0 && from > 0 {
			before[len(before)-1] = ^piece[from-1]
		}
		if len(after) > 0 && from+size < len(piece) {
			after[0] = ^piece[from+size]
		}
		stream := append(append(before, piece[from:from+size]...), after...)
		s.found = nil
		w := s.Writer("stream")
		for rest := stream; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			if got, err := w.Write(rest[:n]); got != n || err != nil {
				t.Fatal(got, err)
			}
			rest = rest[n:]
		}
		if got := s.Found(); (len(got) == 1) != (size >= 16) || len(got) > 1 {
			t.Fatalf("%d marked bytes: %q", size, got)
		}
	})
}

func TestSearchIsBounded(t *testing.T) {
	marked := random(1, 1<<20)
	s := mark(t, marked)
	for range 3 {
		_, _ = s.Writer("other").Write(random(2, 1<<20))
	}
	if got := s.Found(); len(got) != 0 || s.Seen() != 3<<20 {
		t.Errorf("%q of %d bytes", got, s.Seen())
	}
	for range 2 * maxFound {
		w := s.Writer("same")
		_, _ = w.Write(marked)
		_, _ = w.Write(marked)
	}
	if n := len(s.Found()); n != maxFound {
		t.Errorf("%d lines", n)
	}
	if strings.Contains(strings.Join(s.Found(), ""), string(marked[:16])) {
		t.Error("the marked bytes are told")
	}
}

func TestSearchRefusesWhatItCannotFind(t *testing.T) {
	for _, pieces := range [][][]byte{{random(1, 15)}, {make([]byte, 64)}, {random(1, 64), random(1, 64)}} {
		if _, err := NewSearch(pieces...); err == nil {
			t.Errorf("%d pieces of %d bytes were marked", len(pieces), len(pieces[0]))
		}
	}
}

// TestTapsSeeRequests sends marked bytes in every part of a request.
func TestTapsSeeRequests(t *testing.T) {
	marked := random(1, 64)
	run := marked[3:24]
	plain := []byte(strings.Repeat("-", 40))
	for name, c := range map[string]struct {
		path, header string
		body         []byte
		found        string // where
	}{
		"nothing":       {"/key", string(plain), plain, ""},
		"body":          {"/key", "x", append(plain, run...), "OpPUT b/key: body:"},
		"header base64": {"/key", base64.StdEncoding.EncodeToString(run), plain, "X-Tapped, from base64:"},
		"header URL":    {"/key", base64.RawURLEncoding.EncodeToString(run), plain, "X-Tapped, from base64:"},
		"header hex":    {"/key", hex.EncodeToString(run), plain, "X-Tapped, from hexadecimal digits:"},
		"query":         {"/key?x=" + hex.EncodeToString(run), "x", plain, "x, from hexadecimal digits:"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, true)
			s := mark(t, marked)
			remove := b.taps.Add(s.Tap)
			b.taps.Add(func(Call, *http.Request) io.Writer { return nil })
			var whole bytes.Buffer
			b.taps.Add(func(Call, *http.Request) io.Writer { return &whole })
			send := func() {
				resp, text, err := b.do(testContext(t), t, "PUT", c.path, string(c.body), func(r *http.Request) { r.Header.Set("X-Tapped", c.header) })
				if err != nil || resp.StatusCode != 200 {
					t.Fatalf("%v, %v, %s", resp, err, text)
				}
			}
			send()
			if whole.String() != string(c.body) || b.applied.Load() != 1 {
				t.Errorf("tapped %q", whole.String())
			}
			if got := strings.Join(s.Found(), "\n"); !strings.Contains(got, c.found) || (got == "") != (c.found == "") {
				t.Errorf("found %q, want %q", got, c.found)
			}
			seen := s.Seen()
			remove()
			if send(); s.Seen() != seen || whole.Len() != 2*len(c.body) {
				t.Error("a tap that was removed sees on, or the others do not")
			}
		})
	}
}

// TestTapsSeeWhatIsRefused has a body arrive that is answered with an error.
func TestTapsSeeWhatIsRefused(t *testing.T) {
	for _, fault := range []Fault{{Kind: Answer}, {Kind: ResetBefore}, {Kind: ResetAfter}} {
		b := newBench(t, false)
		marked := random(1, 64)
		s := mark(t, marked)
		b.taps.Add(s.Tap)
		b.faults.Add(fault)
		_, _, _ = b.do(testContext(t), t, "PUT", "/key", string(marked), nil) // fails as it may
		if len(s.Found()) != 1 {
			t.Errorf("kind %d: found %q", fault.Kind, s.Found())
		}
	}
}

// TestFaultsOfOneService has rules for another service, for this one, and for
// calls that are made without HTTP.
func TestFaultsOfOneService(t *testing.T) {
	b := newBench(t, false)
	ok := func() bool {
		resp, _, err := b.do(testContext(t), t, "GET", "/key", "", nil)
		return err == nil && resp.StatusCode == 200
	}
	direct := func() bool {
		return b.faults.Call(context.Background(), "OpGET", "key", func() *Error { return nil }) == nil
	}
	other := b.faults.Add(Fault{Service: "kms", Kind: ResetBefore})
	if !ok() || !direct() || other.Hits() != 0 {
		t.Error("hit by a fault of KMS")
	}
	own := b.faults.Add(Fault{Service: "s3", Kind: ResetBefore})
	if ok() || !direct() || own.Hits() == 0 {
		t.Error("not hit by its own, or called without HTTP and hit")
	}
	own.Remove()
	b.faults.Add(Fault{Kind: Answer})
	if ok() || direct() {
		t.Error("not hit by a fault of all")
	}
}

func BenchmarkSearch(b *testing.B) {
	s := mark(b, random(1, 1<<20))
	stream := random(2, 1<<20)
	w := s.Writer("stream")
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		_, _ = w.Write(stream)
	}
	if n := len(s.Found()); n != 0 {
		b.Errorf("%d runs", n)
	}
}
