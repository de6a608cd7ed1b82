package s3io

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// This file compares a Writer to a byte slice.

func TestWriterAgainstAReference(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		configs := map[string]Options{
			"memory": {PartSize: minPart},
			"spool":  {PartSize: minPart, Memory: 8 << 20},
			"scarce": {PartSize: minPart, Memory: 1 << 20},
		}
		if m == ahead {
			configs["whole"] = Options{PartSize: minPart, Envelope: &Envelope{KeyIDs: []string{sandbox.KeyAlias}, NoSplice: true}}
		}
		rigs := map[string]*rig{}
		for name, o := range configs {
			rigs[name] = m.rig(t, o)
		}
		var files int
		rapid.Check(t, func(rt *rapid.T) {
			files++
			r := rigs[rapid.SampledFrom(slices.Sorted(maps.Keys(rigs))).Draw(rt, "resources")]
			runModel(rt, r, fmt.Sprint("file", files))
		})
	})
}

// sizes of writes: rapid prefers small numbers, but parts end at large ones.
func sizes(most int64) *rapid.Generator[int64] {
	around := []int64{1, frameSize - 1, frameSize, 1 << 20, 3<<20 + 1, minPart - 1, minPart, minPart + 1, 7 << 20}
	return rapid.OneOf(rapid.Int64Range(1, most), rapid.Map(rapid.SampledFrom(around), func(n int64) int64 { return min(n, most) }))
}

// runModel applies random operations to a Writer and to a byte slice.
func runModel(t *rapid.T, r *rig, key string) {
	m := &model{r: r, key: key, seed: rapid.Uint64().Draw(t, "seed")}
	m.w = r.b.NewWriter(key, nil, Condition{IfAbsent: true})
	defer func() { m.w.Abort() }()
	for range rapid.IntRange(1, 7).Draw(t, "steps") {
		switch rapid.IntRange(0, 9).Draw(t, "op") {
		case 0, 1, 2, 3:
			m.write(t, int64(len(m.want)), sizes(7<<20).Draw(t, "append"))
		case 4: // two writes that overtook each other
			n := sizes(5<<20).Draw(t, "swap")
			at := int64(len(m.want))
			m.write(t, at+n, n)
			m.write(t, at, n)
		case 5: // a change anywhere
			m.write(t, m.place(t), sizes(200_000).Draw(t, "rewrite"))
		case 6:
			m.truncate(t, m.place(t)+rapid.SampledFrom([]int64{0, 0, 1, 3 << 20}).Draw(t, "more"))
		case 7:
			m.read(t, m.place(t), 100_000)
		case 8:
			m.commit(t)
		case 9:
			m.commit(t)
			m.w.Abort()
			base := m.object
			m.w = r.b.NewWriter(key, &base, Condition{})
		}
		if m.w.Size() != int64(len(m.want)) {
			t.Fatalf("size %d, want %d", m.w.Size(), len(m.want))
		}
	}
	m.commit(t)
	if err := r.b.Delete(context.Background(), m.object); err != nil { // the sandbox holds it in memory
		t.Fatal(err)
	}
}

type model struct {
	r      *rig
	key    string
	w      *Writer
	want   []byte
	seed   uint64
	object Object
}

// place returns an offset within the file, near one of its ends or anywhere.
func (m *model) place(t *rapid.T) int64 {
	size := int64(len(m.want))
	near := rapid.Int64Range(0, size).Draw(t, "near")
	return rapid.SampledFrom([]int64{near, size - near, near * (size / 1000) % (size + 1)}).Draw(t, "place")
}

func (m *model) write(t *rapid.T, off, n int64) {
	m.seed++
	p := randomBytes(m.seed, n)
	k, err := m.w.WriteAt(context.Background(), p, off)
	if err != nil && (!errors.Is(err, ErrNotSequential) || off == int64(len(m.want))) {
		t.Fatalf("write of %d at %d of %d: %v", n, off, len(m.want), err)
	}
	if k > 0 {
		m.want = append(m.want, make([]byte, max(0, off+int64(k)-int64(len(m.want))))...)
		copy(m.want[off:], p[:k])
	}
}

func (m *model) truncate(t *rapid.T, size int64) {
	err := m.w.Truncate(size)
	if errors.Is(err, ErrNotSequential) && size != 0 && size < int64(len(m.want)) {
		return
	}
	if err != nil {
		t.Fatalf("truncate to %d of %d: %v", size, len(m.want), err)
	}
	m.want = append(m.want, make([]byte, max(0, size-int64(len(m.want))))...)[:size]
}

func (m *model) read(t *rapid.T, off, n int64) {
	got := make([]byte, n)
	k, err := m.w.ReadAt(got, off)
	if err != nil && err != io.EOF && !errors.Is(err, ErrNotHeld) {
		t.Fatalf("read at %d of %d: %v", off, len(m.want), err)
	}
	if want := m.want[off:min(int64(len(m.want)), off+int64(k))]; !bytes.Equal(got[:k], want) {
		t.Fatalf("read at %d of %d: other bytes at %d", off, len(m.want), firstDifference(got[:k], want))
	}
	if err == io.EOF && off+int64(k) != int64(len(m.want)) {
		t.Fatalf("end of file at %d of %d", off+int64(k), len(m.want))
	}
}

func (m *model) commit(t *rapid.T) {
	o, err := m.w.Commit(context.Background(), Attrs{})
	if err != nil {
		t.Fatalf("commit of %d bytes: %v", len(m.want), err)
	}
	m.object = o
	got, ok := m.r.content(t, m.key)
	if !ok || o.Size != int64(len(m.want)) || !bytes.Equal(got, m.want) {
		t.Fatalf("committed %d bytes (%v), want %d; first difference at %d", o.Size, ok, len(m.want), firstDifference(got, m.want))
	}
}
