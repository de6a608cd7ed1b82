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
	m := &model{r: r, key: key, seed: rapid.Uint64().Draw(t, "seed"), keep: rapid.Bool().Draw(t, "keep")}
	m.begin(nil, Condition{IfAbsent: true})
	defer func() { m.w.Abort() }()
	for range rapid.IntRange(1, 9).Draw(t, "steps") {
		switch rapid.IntRange(0, 12).Draw(t, "op") {
		case 0, 1, 2, 3:
			m.write(t, int64(len(m.want)), sizes(7<<20).Draw(t, "append"))
		case 4: // two writes that overtook each other
			n := sizes(5<<20).Draw(t, "swap")
			at := int64(len(m.want))
			m.write(t, at+n, n)
			m.write(t, at, n)
		case 5, 6: // a change anywhere
			m.write(t, m.place(t), sizes(200_000).Draw(t, "rewrite"))
		case 7:
			m.truncate(t, m.place(t)+rapid.SampledFrom([]int64{0, 0, 1, 3 << 20}).Draw(t, "more"))
		case 8:
			m.zero(t, m.place(t), sizes(6<<20).Draw(t, "zeros"))
		case 9: // a hole
			m.write(t, int64(len(m.want))+rapid.SampledFrom([]int64{1, 70_000, window + 1}).Draw(t, "gap"), 10)
		case 10:
			m.read(t, m.place(t), 100_000)
		case 11:
			m.commit(t)
		case 12:
			m.commit(t)
			m.w.Abort()
			base := m.object
			m.begin(&base, Condition{})
		}
		if m.w.Size() != int64(len(m.want)) {
			t.Fatalf("size %d, want %d", m.w.Size(), len(m.want))
		}
	}
	m.read(t, 0, int64(len(m.want))+1)
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
	keep   bool
	object Object
}

func (m *model) begin(base *Object, c Condition) {
	m.w = m.r.b.NewWriter(m.key, base, c)
	if m.keep {
		m.w.Keep()
	}
}

// held does f, once more after a commit if it needs what is held no more.
func (m *model) held(t *rapid.T, what string, f func() error) {
	err := f()
	if errors.Is(err, ErrNotHeld) {
		if m.keep {
			t.Fatalf("%s: what was to be kept is not held", what)
		}
		m.commit(t)
		err = f()
	}
	if err != nil {
		t.Fatalf("%s of %d bytes: %v", what, len(m.want), err)
	}
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
	m.held(t, fmt.Sprintf("write of %d at %d", n, off), func() error {
		k, err := m.w.WriteAt(context.Background(), p, off)
		m.extend(off + int64(k))
		if k > 0 {
			copy(m.want[off:], p[:k])
		}
		off, p = off+int64(k), p[k:]
		return err
	})
}

func (m *model) extend(size int64) {
	m.want = append(m.want, make([]byte, max(0, size-int64(len(m.want))))...)
}

func (m *model) truncate(t *rapid.T, size int64) {
	m.held(t, fmt.Sprint("truncate to ", size), func() error { return m.w.Truncate(size) })
	m.extend(size)
	m.want = m.want[:size]
}

func (m *model) zero(t *rapid.T, off, n int64) {
	m.held(t, fmt.Sprintf("%d zeros at %d", n, off), func() error { return m.w.Zero(off, n) })
	clear(m.want[off:min(off+n, int64(len(m.want)))])
}

func (m *model) read(t *rapid.T, off, n int64) {
	got := make([]byte, n)
	m.held(t, fmt.Sprint("read at ", off), func() error {
		k, err := m.w.ReadAt(got, off, m.r.fromBase)
		if end := k < len(got); end != (err == io.EOF) {
			return fmt.Errorf("%d of %d bytes: %w", k, len(got), err)
		}
		got = got[:k]
		if err == io.EOF {
			err = nil
		}
		return err
	})
	if want := m.want[off:min(int64(len(m.want)), off+n)]; !bytes.Equal(got, want) {
		t.Fatalf("read %d at %d of %d: other bytes at %d", len(got), off, len(m.want), firstDifference(got, want))
	}
}

func (m *model) commit(t *rapid.T) {
	if m.keep && rapid.Bool().Draw(t, "conflict") { // all is held that has to be sent again
		m.r.server.S3.Conflict(sandbox.Bucket, m.key, 1)
	}
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
