package s3io

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// baseOf stores an object of size random bytes.
func (r *rig) baseOf(t *testing.T, size int64) (Object, []byte) {
	t.Helper()
	content := randomBytes(40, size)
	w := r.b.NewWriter("file", nil, Condition{})
	defer w.Abort()
	mustWrite(t, w, content, 0)
	o := mustCommit(t, w, Attrs{Meta: map[string]string{"mode": "0"}})
	r.server.Log.Reset()
	return o, content
}

// patch writes n bytes at off, here and there.
func patch(t *testing.T, w *Writer, content []byte, off, n int64) {
	t.Helper()
	p := randomBytes(uint64(off)+1, n)
	mustWrite(t, w, p, off)
	copy(content[off:], p)
}

func TestASmallChangeIsSpliced(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		base, want := r.baseOf(t, 40<<20+5)
		w := r.b.NewWriter("file", &base, Condition{})
		lost := int64(0)
		for _, off := range []int64{20 << 20, 0, 40<<20 - 4000} {
			r.server.Log.Reset()
			patch(t, w, want, off, 4005)
			o := mustCommit(t, w, Attrs{Meta: base.Meta})
			if n, copies := r.count("UploadPart"), r.count("UploadPartCopy"); n != 1 || copies == 0 || copies > 2 {
				t.Errorf("a change at %d sent %d parts and copied %d", off, n, copies)
			}
			if gets := r.count("GetObject"); gets > 2 {
				t.Errorf("a change at %d read %d times", off, gets)
			}
			r.wantContent(t, "file", want)
			if m == ahead {
				if !o.Header.Equal(base.Header) || o.Spliced <= lost {
					t.Errorf("a change at %d: not the same message, or %d frames replaced after %d", off, o.Spliced, lost)
				}
				lost = o.Spliced
			}
		}
		w.Abort()
	})
}

func TestMuchChangedIsSealedAnew(t *testing.T) {
	for name, o := range map[string]Options{"half": sealing(nil), "no splice": sealing(func(o *Options) { o.Envelope.NoSplice = true })} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, o)
			base, want := r.baseOf(t, 30<<20)
			w := r.b.NewWriter("file", &base, Condition{})
			n := int64(16 << 20)
			if name != "half" {
				n = 1
			}
			patch(t, w, want, 1<<20, n)
			o := mustCommit(t, w, Attrs{Meta: base.Meta})
			r.wantMessage(t, o, base.Header, true, want)
			if r.count("UploadPartCopy") != 0 || o.Spliced != 0 {
				t.Errorf("%d parts were copied, %d frames replaced", r.count("UploadPartCopy"), o.Spliced)
			}
			w.Abort()
		})
	}
}

// TestASmallFileIsHeldOn: it is read once, and then every commit is one request.
func TestASmallFileIsHeldOn(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{})
		base, want := r.baseOf(t, 3<<20)
		w := r.b.NewWriter("file", &base, Condition{})
		for i := range int64(3) {
			patch(t, w, want, (2-i)<<20, 5000)
			mustCommit(t, w, Attrs{Meta: base.Meta})
		}
		if puts, gets := r.count("PutObject"), r.count("GetObject"); puts != 3 || gets != 1 {
			t.Errorf("%d requests to read, %d to write", gets, puts)
		}
		r.wantContent(t, "file", want)
		w.Abort()
	})
}

func TestPatchSurvivesOneFault(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		base, want := r.baseOf(t, maxPatchedPut+minPart)
		w := r.b.NewWriter("file", &base, Condition{})
		for _, op := range []string{"UploadPart", "UploadPartCopy", "CompleteMultipartUpload", "GetObject"} {
			for name, kind := range kinds {
				patch(t, w, want, 6<<20, 100)
				rule := r.server.Faults.Add(wire.Fault{Op: op, Kind: kind, Times: 1, Status: 503, Code: "SlowDown"})
				mustCommit(t, w, Attrs{Meta: base.Meta})
				if rule.Hits() != 1 {
					t.Errorf("%s %s: %d requests went wrong", op, name, rule.Hits())
				}
				rule.Remove()
				r.wantContent(t, "file", want)
			}
		}
		w.Abort()
	})
}

// TestPatchOverAChangedBase: what the base has cannot be had any more, so nothing
// is committed, and theirs stays.
func TestPatchOverAChangedBase(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		for _, policy := range []OnConflict{ConflictFail, ConflictKeep, ConflictOverwrite} {
			r := m.rig(t, Options{PartSize: minPart, OnConflict: policy})
			base, want := r.baseOf(t, 20<<20)
			w := r.b.NewWriter("file", &base, Condition{})
			patch(t, w, want, 6<<20, 100)
			theirs := r.put(t, "file", []byte("theirs"))
			if _, err := w.Commit(t.Context(), Attrs{}); KindOf(err) != Stale {
				t.Fatalf("commit over a base that is gone: %v", err)
			}
			r.wantContent(t, "file", []byte("theirs"))
			if now, err := r.b.Head(t.Context(), "file"); err != nil || now.ETag != theirs.ETag {
				t.Errorf("theirs was replaced: %v", err)
			}
			w.Abort()
		}
	})
}

// TestACommitNeedsNoRoom fills memory and spool with changes, until one is refused.
// All that was accepted can be committed.
func TestACommitNeedsNoRoom(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart, Memory: 64 << 20, SpoolSize: 1 << 20})
		base, want := r.baseOf(t, 60<<20)
		w := r.b.NewWriter("file", &base, Condition{})
		var full error
		for off := int64(0); off < base.Size && full == nil; off += frameSize {
			p := randomBytes(uint64(off), 10)
			var n int
			n, full = w.WriteAt(t.Context(), p, off)
			copy(want[off:], p[:n])
		}
		if KindOf(full) != NoSpace {
			t.Fatalf("everything fits, or %v", full)
		}
		mustCommit(t, w, Attrs{Meta: base.Meta})
		r.wantContent(t, "file", want)
		patch(t, w, want, 59<<20, 100)
		mustCommit(t, w, Attrs{Meta: base.Meta})
		r.wantContent(t, "file", want)
		w.Abort()
	})
}

// TestKeptPartsAreDropped: they make way for what was not sent yet.
func TestKeptPartsAreDropped(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart, Memory: 8 << 20, SpoolSize: 20 << 20})
		w := r.b.NewWriter("file", nil, Condition{IfAbsent: true})
		w.Keep()
		want := randomBytes(41, 60<<20)
		for off := int64(0); off < int64(len(want)); off += 1 << 20 {
			mustWrite(t, w, want[off:off+1<<20], off)
		}
		if _, err := w.ReadAt(make([]byte, 1), minPart, r.fromBase); !errors.Is(err, ErrNotHeld) {
			t.Errorf("a part that made way: %v", err)
		}
		mustCommit(t, w, Attrs{})
		r.wantContent(t, "file", want)
		w.Abort()
	})
}

// TestReadsThroughACommit reads a file over and over while it is changed and
// committed, from what is held and from a base that is replaced meanwhile.
func TestReadsThroughACommit(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		base, want := r.baseOf(t, 20<<20)
		w := r.b.NewWriter("file", &base, Condition{})
		stop, done := make(chan struct{}), make(chan error, 1)
		same := bytes.Clone(want[15<<20:][:1<<20])
		go func() {
			got := make([]byte, len(same))
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				if _, err := w.ReadAt(got, 15<<20, r.fromBase); err != nil && err != io.EOF || !bytes.Equal(got, same) {
					done <- fmt.Errorf("reads through a commit: %w", err)
					return
				}
			}
		}()
		for i := range int64(3) {
			patch(t, w, want, i<<20, 5000)
			mustCommit(t, w, Attrs{Meta: base.Meta})
		}
		close(stop)
		check(t, <-done)
		r.wantContent(t, "file", want)
		w.Abort()
	})
}
