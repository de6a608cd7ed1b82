package s3io

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

// randomBytes returns n incompressible bytes.
func randomBytes(seed uint64, n int64) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(p)
	return p
}

func mustWrite(t testing.TB, w *Writer, p []byte, off int64) {
	t.Helper()
	if n, err := w.WriteAt(t.Context(), p, off); n != len(p) || err != nil {
		t.Fatalf("WriteAt(%d bytes, %d): %d, %v", len(p), off, n, err)
	}
}

func mustCommit(t testing.TB, w *Writer, a Attrs) Object {
	t.Helper()
	o, err := w.Commit(t.Context(), a)
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	if w.Dirty() {
		t.Fatal("dirty after Commit")
	}
	return o
}

// wantContent fails unless key holds want.
func (r *rig) wantContent(t testing.TB, key string, want []byte) {
	t.Helper()
	got, ok := r.content(t, key)
	if !ok {
		t.Fatalf("%q does not exist", key)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%q has %d bytes, first difference at %d; want %d bytes", key, len(got), firstDifference(got, want), len(want))
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestWriterSmallFileIsOnePut(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{})
		w := r.b.NewWriter("small", nil, Condition{IfAbsent: true})
		want := randomBytes(1, 200<<10)
		for off := 0; off < len(want); off += 4096 {
			mustWrite(t, w, want[off:off+4096], int64(off))
		}
		if !w.Dirty() || w.Size() != int64(len(want)) {
			t.Fatalf("dirty %v, size %d", w.Dirty(), w.Size())
		}
		o := mustCommit(t, w, Attrs{Meta: map[string]string{"mode": "33188"}})
		if o.Size != int64(len(want)) || o.Meta["mode"] != "33188" {
			t.Fatalf("committed %+v", o)
		}
		again := mustCommit(t, w, Attrs{Meta: map[string]string{"mode": "33188"}})
		if again.ETag != o.ETag || r.count("PutObject") != 1 {
			t.Fatalf("a commit without changes: ETag %s after %s, %d puts", again.ETag, o.ETag, r.count("PutObject"))
		}
		r.wantContent(t, "small", want)

		// Writing goes on, and a small file is not read again for it.
		mustWrite(t, w, []byte("HEAD"), 0)
		copy(want, "HEAD")
		mustWrite(t, w, []byte("tail"), int64(len(want)))
		want = append(want, "tail"...)
		mustCommit(t, w, Attrs{Meta: map[string]string{"mode": "33188"}})
		r.wantContent(t, "small", want)
		// The two GETs are wantContent's.
		if r.count("PutObject") != 2 || r.count("GetObject") != 2 || r.count("CopyObject") != 0 {
			t.Fatalf("requests: %v", r.server.Log.Counts())
		}
		w.Abort()
	})
}

func TestWriterEmptyFile(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{})
		w := r.b.NewWriter("empty", nil, Condition{IfAbsent: true})
		if !w.Dirty() {
			t.Fatal("a new file is not dirty")
		}
		mustCommit(t, w, Attrs{})
		r.wantContent(t, "empty", nil)
		w.Abort()
	})
}

func TestWriterLargeFile(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		for name, o := range map[string]Options{
			"in memory":         {},
			"through the spool": {Memory: 16 << 20, PartSize: 6<<20 + 1},
			"without memory":    {Memory: 1},
		} {
			t.Run(name, func(t *testing.T) {
				r := m.rig(t, o)
				w := r.b.NewWriter("large", nil, Condition{IfAbsent: true})
				want := randomBytes(2, 37<<20+12345)
				meta := Attrs{Meta: map[string]string{"mode": "1"}}
				w.SetAttrs(meta)
				for off := 0; off < len(want); off += 1 << 20 {
					mustWrite(t, w, want[off:min(off+1<<20, len(want))], int64(off))
				}
				mustWrite(t, w, []byte("patched header"), 3)
				copy(want[3:], "patched header")
				o := mustCommit(t, w, meta)
				if o.Size != int64(len(want)) {
					t.Fatalf("committed %d bytes of %d", o.Size, len(want))
				}
				r.wantContent(t, "large", want)
				if r.count("CreateMultipartUpload") != 1 || r.count("PutObject") != 0 || r.count("CopyObject") != 0 {
					t.Fatalf("requests: %d creates, %d puts, %d copies", r.count("CreateMultipartUpload"), r.count("PutObject"), r.count("CopyObject"))
				}
				w.Abort()
			})
		}
	})
}

func TestBucketCloseAbortsWhatNobodyEnded(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		w := r.b.NewWriter("file", nil, Condition{})
		mustWrite(t, w, randomBytes(31, 3*minPart), 0)
		check(t, r.b.writes.close(t.Context()))
		if _, err := w.Commit(t.Context(), Attrs{}); !errors.Is(err, errAborted) {
			t.Fatalf("commit after Close: %v", err)
		}
		if n := r.count("AbortMultipartUpload"); n != 1 {
			t.Fatalf("%d uploads aborted", n)
		}
	})
}

func TestWriterRefusesWhatItNoLongerHolds(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		w := r.b.NewWriter("file", nil, Condition{})
		want := randomBytes(5, 3*minPart+100)
		mustWrite(t, w, want, 0)
		if _, err := w.WriteAt(t.Context(), []byte("x"), minPart+1); !errors.Is(err, ErrNotHeld) {
			t.Fatalf("a change to a sent part: %v", err)
		}
		if _, err := w.ReadAt(make([]byte, 1), minPart+1, r.fromBase); !errors.Is(err, ErrNotHeld) {
			t.Fatalf("a read of a sent part: %v", err)
		}
		if err := w.Truncate(minPart + 1); !errors.Is(err, ErrNotHeld) {
			t.Fatalf("truncate to a sent part: %v", err)
		}
		if err := w.Zero(minPart+1, 1); !errors.Is(err, ErrNotHeld) {
			t.Fatalf("a hole in a sent part: %v", err)
		}
		if _, err := w.WriteAt(t.Context(), []byte("x"), 3<<30); !errors.Is(err, ErrNotHeld) {
			t.Fatalf("a write far ahead: %v", err)
		}
		got := make([]byte, 200)
		if n, err := w.ReadAt(got, 3*minPart+50, r.fromBase); n != 50 || err != io.EOF || !bytes.Equal(got[:n], want[3*minPart+50:]) {
			t.Fatalf("ReadAt at the end: %d, %v", n, err)
		}
		mustCommit(t, w, Attrs{})
		r.wantContent(t, "file", want)
		mustWrite(t, w, []byte("x"), minPart+1)
		want[minPart+1] = 'x'
		mustCommit(t, w, Attrs{})
		r.wantContent(t, "file", want)
		w.Abort()
	})
}

func TestWriterRefusesWhatCannotBeStored(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		w := r.b.NewWriter("file", nil, Condition{})
		mustWrite(t, w, []byte("x"), 0)
		for _, size := range []int64{maxParts * minPart, maxZeros + 2, 1 << 40} {
			if _, err := w.WriteAt(t.Context(), []byte("x"), size); KindOf(err) != TooLarge {
				t.Errorf("a write at %d: %v", size, err)
			}
			if err := w.Truncate(size + 1); KindOf(err) != TooLarge {
				t.Errorf("truncate to %d: %v", size, err)
			}
		}
		check(t, w.Truncate(1<<30))
		check(t, w.Truncate(1))
		mustCommit(t, w, Attrs{})
		r.wantContent(t, "file", []byte("x"))
		w.Abort()
	})
}

func TestWriterFillsHoles(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{})
		w := r.b.NewWriter("sparse", nil, Condition{})
		want := make([]byte, 40<<20)
		copy(want, "begin")
		copy(want[30<<20:], "middle")
		mustWrite(t, w, []byte("begin"), 0)
		mustWrite(t, w, []byte("middle"), 30<<20)
		check(t, w.Truncate(40<<20))
		got := make([]byte, 10)
		if _, err := w.ReadAt(got, 35<<20, r.fromBase); err != nil || !bytes.Equal(got, make([]byte, 10)) {
			t.Fatalf("a hole reads as %q, %v", got, err)
		}
		mustCommit(t, w, Attrs{})
		r.wantContent(t, "sparse", want)
		w.Abort()
	})
}

func TestWriterAttributes(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		w := r.b.NewWriter("file", nil, Condition{})
		w.SetAttrs(Attrs{Meta: map[string]string{"mode": "1"}})
		want := randomBytes(6, 2*minPart+1)
		mustWrite(t, w, want, 0)
		o := mustCommit(t, w, Attrs{Meta: map[string]string{"mode": "2"}})
		if o.Meta["mode"] != "2" || r.meta("file")["mode"] != "2" || r.count("CopyObject") != 1 {
			t.Fatalf("mode %q, stored %q, after %d copies", o.Meta["mode"], r.meta("file")["mode"], r.count("CopyObject"))
		}
		w.SetAttrs(Attrs{Meta: map[string]string{"mode": "3"}})
		if !w.Dirty() {
			t.Fatal("changed attributes are not dirty")
		}
		mustCommit(t, w, Attrs{Meta: map[string]string{"mode": "3"}})
		if r.meta("file")["mode"] != "3" || r.count("CopyObject") != 2 {
			t.Fatalf("stored %q after %d copies", r.meta("file")["mode"], r.count("CopyObject"))
		}
		mustWrite(t, w, []byte("more"), int64(len(want)))
		mustCommit(t, w, Attrs{Meta: map[string]string{"mode": "3"}})
		r.wantContent(t, "file", append(want, "more"...))
		if r.count("CopyObject") != 2 {
			t.Fatal("a copy without changed attributes")
		}
		w.Abort()
	})
}

func TestWriterLosesARace(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		for _, size := range []int64{100, 2*minPart + 1} {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				r := m.rig(t, Options{PartSize: minPart})
				base := r.put(t, "file", []byte("old"))
				w := r.b.NewWriter("file", &base, Condition{})
				check(t, w.Truncate(0))
				mustWrite(t, w, randomBytes(7, size), 0)
				r.put(t, "file", []byte("theirs"))
				_, err := w.Commit(t.Context(), Attrs{})
				if k := KindOf(err); k != Stale {
					t.Fatalf("commit over a change by somebody else: kind %d, %v", k, err)
				}
				r.wantContent(t, "file", []byte("theirs"))
				wantSticky(t, w, err)
				w.Abort()
			})
		}
	})
}

func TestWriterLosesARaceAfterItsOwnCommit(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		w := r.b.NewWriter("file", nil, Condition{IfAbsent: true})
		mustWrite(t, w, []byte("ours"), 0)
		mustCommit(t, w, Attrs{})
		r.put(t, "file", []byte("theirs"))
		mustWrite(t, w, []byte("more"), 4)
		if _, err := w.Commit(t.Context(), Attrs{}); KindOf(err) != Stale {
			t.Fatalf("commit over a change by somebody else: %v", err)
		}
		r.wantContent(t, "file", []byte("theirs"))
		w.Abort()
	})
}

// wantSticky fails unless every call reports err.
func wantSticky(t *testing.T, w *Writer, err error) {
	t.Helper()
	if _, again := w.WriteAt(t.Context(), []byte("x"), 0); again != err {
		t.Fatalf("WriteAt after %v: %v", err, again)
	}
	if _, again := w.Commit(t.Context(), Attrs{}); again != err {
		t.Fatalf("Commit after %v: %v", err, again)
	}
	if _, again := w.ReadAt(make([]byte, 1), 0, nil); again != err {
		t.Fatalf("ReadAt after %v: %v", err, again)
	}
	if again := w.Truncate(0); again != err {
		t.Fatalf("Truncate after %v: %v", err, again)
	}
	if w.Err() != err {
		t.Fatalf("Err after %v: %v", err, w.Err())
	}
}

func TestWriterInterruptedCommitGoesOn(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{})
		w := r.b.NewWriter("file", nil, Condition{IfAbsent: true})
		mustWrite(t, w, []byte("content"), 0)
		hold := r.hold(t, "PutObject")
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error)
		go func() {
			_, err := w.Commit(ctx, Attrs{})
			got <- err
		}()
		<-hold.reached
		cancel()
		if err := <-got; KindOf(err) != Interrupted {
			t.Fatalf("interrupted commit: %v", err)
		}
		if w.Size() != 7 {
			t.Fatal("Size")
		}
		if busy := r.b.Busy(); !slices.Equal(busy, []string{"file: 7 B left"}) {
			t.Fatalf("Busy: %q", busy)
		}
		if _, err := w.WriteAt(ctx, []byte("x"), 0); KindOf(err) != Interrupted {
			t.Fatalf("a write by a dying caller: %v", err)
		}
		hold.release()
		mustCommit(t, w, Attrs{})
		r.wantContent(t, "file", []byte("content"))
		if n := r.count("PutObject"); n != 1 {
			t.Fatalf("%d puts", n)
		}
		w.Abort()
	})
}

func TestWriterAbortLeavesNothing(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		w := r.b.NewWriter("file", nil, Condition{})
		mustWrite(t, w, randomBytes(8, 4*minPart), 0)
		w.Abort()
		w.Abort()
		if _, err := w.Commit(t.Context(), Attrs{}); !errors.Is(err, errAborted) {
			t.Fatalf("commit after Abort: %v", err)
		}
		r.b.writes.wait()
		if _, ok := r.content(t, "file"); ok {
			t.Fatal("an aborted file exists")
		}
	})
}
