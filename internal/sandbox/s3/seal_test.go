package s3

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// sealedBlob seals content as a blob of a fixed key.
func sealedBlob(t rapid.TB, content []byte, chunk int) []byte {
	aead, err := newAEAD(make([]byte, 32), "id")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := newSealer(&out, aead)
	for p := range slices.Chunk(content, chunk) {
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil || w.size != int64(len(content)) {
		t.Fatalf("size %d of %d: %v", w.size, len(content), err)
	}
	return out.Bytes()
}

func openRange(t rapid.TB, blob []byte, size, off, n int) ([]byte, error) {
	aead, err := newAEAD(make([]byte, 32), "id")
	if err != nil {
		t.Fatal(err)
	}
	return io.ReadAll(newOpener(bytes.NewReader(blob), aead, int64(size), int64(off), int64(n)))
}

func TestAnyRangeOpens(t *testing.T) {
	content := make([]byte, 3*frameSize+10)
	rand.NewChaCha8([32]byte{}).Read(content)
	rapid.Check(t, func(t *rapid.T) {
		near := rapid.IntRange(-2, 2)
		size := max(0, rapid.IntRange(0, 3).Draw(t, "frames")*frameSize+near.Draw(t, "size"))
		blob := sealedBlob(t, content[:size], rapid.IntRange(1000, 100_000).Draw(t, "chunk"))
		off := rapid.IntRange(0, size).Draw(t, "off")
		n := rapid.IntRange(0, size-off).Draw(t, "n")
		got, err := openRange(t, blob, size, off, n)
		if err != nil || !bytes.Equal(got, content[off:off+n]) {
			t.Fatalf("%d bytes at %d of %d: %d bytes, %v", n, off, size, len(got), err)
		}
	})
}

func TestTamperedFramesDoNotOpen(t *testing.T) {
	content := bytes.Repeat([]byte{7}, 2*frameSize+5)
	blob := sealedBlob(t, content, 9999)
	swapped := slices.Concat(blob[sealed:2*sealed], blob[:sealed], blob[2*sealed:])
	flipped := slices.Clone(blob)
	flipped[len(blob)-1] ^= 1
	for _, c := range []struct {
		name string
		blob []byte
		size int
	}{
		{"frames swapped", swapped, len(content)},
		{"bit flipped", flipped, len(content)},
		{"cut at a frame, and the size with it", blob[:2*sealed], 2 * frameSize},
		{"cut within a frame", blob[:len(blob)-1], len(content)},
	} {
		if _, err := openRange(t, c.blob, c.size, 0, c.size); err == nil {
			t.Errorf("%s: opened", c.name)
		}
	}
}

// TestPagesAreTheWalk: pages of any size, one after the other, are what one walk over the names finds.
func TestPagesAreTheWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfDistinct(rapid.StringMatching(`[a/b]{1,5}`), rapid.ID[string]).Draw(t, "names")
		slices.Sort(names)
		prefix := rapid.StringMatching(`[a/]{0,2}`).Draw(t, "prefix")
		delimiter := rapid.SampledFrom([]string{"", "/"}).Draw(t, "delimiter")
		gone := func(name string) bool { return strings.HasSuffix(name, "b") }
		var want []string
		for _, name := range names {
			if rest, ok := strings.CutPrefix(name, prefix); ok && !gone(name) {
				if before, _, found := strings.Cut(rest, "/"); found && delimiter != "" {
					name = prefix + before + "/"
				}
				if !slices.Contains(want, name) {
					want = append(want, name)
				}
			}
		}
		var got []string
		limit, after := rapid.IntRange(1, 4).Draw(t, "limit"), ""
		for {
			p := pageOf(names, prefix, delimiter, after, limit, gone)
			all := append(p.names, p.prefixes...)
			slices.Sort(all)
			got = append(got, all...)
			if !p.truncated {
				break
			}
			if len(all) != limit {
				t.Fatalf("a page of %d is truncated, limit %d", len(all), limit)
			}
			after = p.last
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("pages %q, walk %q", got, want)
		}
	})
}

// TestFailedJournalChangesNothing: what could not be written down did not happen.
func TestFailedJournalChangesNothing(t *testing.T) {
	s, err := newStore(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.create(settings{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil { // from now on every write to the journal fails
		t.Fatal(err)
	}
	err = s.update("b", func(*bucket) ([]change, error) {
		return []change{{Bucket: "b", Put: &version{Key: "k", ID: nullVersion, Content: &content{}}}}, nil
	})
	if err == nil {
		t.Error("a transaction succeeds without the journal")
	}
	err = s.view("b", func(b *bucket) error {
		if b.current("k") != nil {
			return errors.New("the object is there")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
