package s3io

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// TestReadsOfChangesThroughACommit reads what was changed over and over while it is
// committed: it goes from what is held to the base, and is never absent.
func TestReadsOfChangesThroughACommit(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		for name, size := range map[string]int64{"spliced": maxPatchedPut + minPart, "in one request": minPart + 10, "held on": 1 << 20} {
			t.Run(name, func(t *testing.T) {
				r := m.rig(t, Options{PartSize: minPart})
				base, want := r.baseOf(t, size)
				w := r.b.NewWriter("file", &base, Condition{})
				defer w.Abort()
				patch(t, w, want, 300_000, 5000)
				ends := r.readsOver(w, bytes.Clone(want[300_000:305_000]), 300_000)
				for i := range int64(2) {
					patch(t, w, want, i<<10, 50)
					mustCommit(t, w, Attrs{Meta: base.Meta})
				}
				check(t, ends())
			})
		}
		t.Run("stream", func(t *testing.T) {
			r := m.rig(t, Options{PartSize: minPart})
			w := r.b.NewWriter("file", nil, Condition{})
			defer w.Abort()
			want := randomBytes(50, minPart+100)
			mustWrite(t, w, want, 0)
			ends := r.readsOver(w, want[len(want)-50:], minPart+50)
			mustCommit(t, w, Attrs{})
			for i := range int64(3) {
				mustWrite(t, w, []byte("more"), minPart+100+i*4)
				mustCommit(t, w, Attrs{})
			}
			check(t, ends())
		})
	})
}

// readsOver reads the bytes at off over and over, until the function that it
// returns is called; that says whether they were want.
func (r *rig) readsOver(w *Writer, want []byte, off int64) func() error {
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		got := make([]byte, len(want))
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if _, err := w.ReadAt(got, off, r.fromBase); err != nil && err != io.EOF || !bytes.Equal(got, want) {
				done <- fmt.Errorf("a read through a commit: other bytes at %d, %w", firstDifference(got, want), err)
				return
			}
		}
	}()
	return func() error { close(stop); return <-done }
}

// TestReadsWaitForAnObjectToBeReplaced reads the base when a commit has replaced it
// and is not over.
func TestReadsWaitForAnObjectToBeReplaced(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		base, want := r.baseOf(t, 2*minPart)
		w := r.b.NewWriter("file", &base, Condition{})
		defer w.Abort()
		mustWrite(t, w, randomBytes(51, 2*minPart), base.Size) // with the attributes as they are now
		copied := r.hold(t, "CopyObject")
		done, read := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := w.Commit(t.Context(), Attrs{Meta: map[string]string{"mode": "9"}})
			done <- err
		}()
		<-copied.reached
		got, tried := make([]byte, 100), make(chan struct{}, 10)
		go func() {
			_, err := w.ReadAt(got, 1000, func(base Object, p []byte, off int64) error {
				defer func() { tried <- struct{}{} }()
				return r.fromBase(base, p, off)
			})
			read <- err
		}()
		<-tried
		copied.release()
		check(t, <-done)
		check(t, <-read)
		if !bytes.Equal(got, want[1000:1100]) {
			t.Error("other bytes")
		}
	})
}

// TestASplicedCommitIsSentAgainAfterAConflict: after 409 the upload is gone, and
// what was changed anywhere is still held.
func TestASplicedCommitIsSentAgainAfterAConflict(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		base, want := r.baseOf(t, maxPatchedPut+minPart)
		w := r.b.NewWriter("file", &base, Condition{})
		defer w.Abort()
		patch(t, w, want, 6<<20, 100)
		r.server.S3.Conflict(sandbox.Bucket, "file", 1)
		mustCommit(t, w, Attrs{Meta: base.Meta})
		r.wantContent(t, "file", want)
		if n := r.count("CreateMultipartUpload"); n != 2 {
			t.Errorf("%d uploads", n)
		}
	})
}

// TestASmallFileOverALargeBase: what was left of it is no more than a small file,
// that goes out in one request and has nobody wait for its memory afterwards.
func TestASmallFileOverALargeBase(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		base, want := r.baseOf(t, 2*minPart)
		w := r.b.NewWriter("file", &base, Condition{})
		defer w.Abort()
		patch(t, w, want, 0, 100)
		check(t, w.Truncate(1<<20))
		mustCommit(t, w, Attrs{Meta: base.Meta})
		mustWrite(t, w, []byte("more"), 1<<20)
		mustCommit(t, w, Attrs{Meta: base.Meta})
		r.wantContent(t, "file", append(want[:1<<20], "more"...))
		if n := r.count("CreateMultipartUpload"); n != 0 {
			t.Errorf("%d uploads", n)
		}
		if n := r.b.writes.mem.leaving; n != 0 {
			t.Errorf("others wait for %d bytes that nothing frees", n)
		}
	})
}

// TestAPartNeedsNoRoomToBePutTogether: a place that was found is enough, however
// often it is written to.
func TestAPartNeedsNoRoomToBePutTogether(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{Memory: 8 << 20, PartSize: minPart, SpoolSize: minPart})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		p, err := r.b.writes.newPart(ctx, 0, minPart)
		check(t, err)
		defer p.release()
		var taken []slot
		defer func() { r.b.writes.spool.release(taken, false) }()
		for s, ok := r.b.writes.spool.tryAlloc(); ok; s, ok = r.b.writes.spool.tryAlloc() {
			taken = append(taken, s)
		}
		want := randomBytes(52, minPart)
		_, err = p.writeAt(ctx, want, 0)
		check(t, err)
		for off := int64(5); off < minPart; off += frameSize {
			_, err := p.writeAt(ctx, []byte("again"), off)
			check(t, err)
			copy(want[off:], "again")
		}
		got := make([]byte, minPart)
		check(t, p.readAtLocked(got, 0))
		if !bytes.Equal(got, want) {
			t.Errorf("other bytes at %d", firstDifference(got, want))
		}
	})
}

// TestAConflictIsSettledWithoutMemory: theirs is read and sealed anew under its
// other name, while the memory that there is holds ours.
func TestAConflictIsSettledWithoutMemory(t *testing.T) {
	r := newRig(t, sealing(func(o *Options) { o.Envelope.Scope, o.OnConflict, o.Host = crypto.ScopeObject, ConflictKeep, "h" }))
	theirs := randomBytes(53, 100_000)
	r.put(t, "file", theirs)
	w := r.b.NewWriter("file", nil, Condition{IfAbsent: true})
	defer w.Abort()
	want := randomBytes(54, 2*minPart+100)
	mustWrite(t, w, want, 0)
	r.b.writes.wait() // the part in between is sent
	mem := r.b.writes.mem
	for c := mem.tryGet(small); c != nil; c = mem.tryGet(small) {
		defer c.release()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := w.Commit(ctx, Attrs{}); err != nil {
		t.Fatal(err)
	}
	r.wantContent(t, "file", want)
}

// TestABaseThatIsReadDropsKeptParts: to keep what was sent is a favour, for which
// no write fails.
func TestABaseThatIsReadDropsKeptParts(t *testing.T) {
	r := newRig(t, sealing(func(o *Options) { o.Envelope.NoSplice, o.Memory, o.SpoolSize = true, 8<<20, 12<<20 }))
	base, want := r.baseOf(t, 24<<20)
	w := r.b.NewWriter("file", &base, Condition{})
	defer w.Abort()
	w.Keep()
	mustWrite(t, w, []byte("more"), base.Size)
	mustCommit(t, w, Attrs{Meta: base.Meta})
	r.wantContent(t, "file", append(want, "more"...))
}

// TestABaseIsPinnedWithoutTheServer: theirs, which came while parts were copied by a
// server that does not compare ETags, is not mixed with ours.
func TestABaseIsPinnedWithoutTheServer(t *testing.T) {
	for _, off := range []int64{0, 20 << 20} {
		r := newRig(t, Options{PartSize: minPart, OnConflict: ConflictKeep, Host: "h"})
		r.b.caps.CopyIfMatch = false
		base, want := r.baseOf(t, 20<<20)
		theirs := randomBytes(56, 20<<20)
		w := r.b.NewWriter("file", &base, Condition{})
		defer w.Abort()
		patch(t, w, append(want, make([]byte, 100)...), off, 100)
		r.put(t, "file", theirs)
		if _, err := w.Commit(t.Context(), Attrs{Meta: base.Meta}); KindOf(err) != Stale {
			t.Errorf("a commit over theirs: %v", err)
		}
		r.wantContent(t, "file", theirs)
	}
}

// TestKeptPartsLeaveRoomToOthers: what one file keeps as a favour costs no other.
func TestKeptPartsLeaveRoomToOthers(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart, Memory: 8 << 20, SpoolSize: 24 << 20})
		keeps, other := r.b.NewWriter("keeps", nil, Condition{}), r.b.NewWriter("other", nil, Condition{})
		defer keeps.Abort()
		defer other.Abort()
		keeps.Keep()
		want := randomBytes(57, 30<<20)
		mustWrite(t, keeps, want, 0)
		mustWrite(t, other, want[:minPart], 0)
		mustCommit(t, other, Attrs{})
		mustCommit(t, keeps, Attrs{})
		r.wantContent(t, "keeps", want)
	})
}

// TestHolesAreBounded whether they are punched or grown, beside what is written over
// the base.
func TestHolesAreBounded(t *testing.T) {
	r := newRig(t, Options{})
	const size = 2 * maxZeros
	w := r.b.NewWriter("file", &Object{Key: "file", Size: size, Stored: size, ETag: `"a"`, Head: true}, Condition{})
	defer w.Abort()
	if err := w.Zero(10, maxZeros+1); KindOf(err) != TooLarge || w.Dirty() {
		t.Errorf("a hole that is too large: %v", err)
	}
	check(t, w.Zero(10, maxZeros))
	if err := w.Zero(maxZeros+5, 10); KindOf(err) != TooLarge {
		t.Errorf("a hole too many: %v", err)
	}
	check(t, w.Zero(20, 100)) // is one already
	mustWrite(t, w, []byte("known anyway"), maxZeros+100)
	if err := w.Truncate(size + 6); KindOf(err) != TooLarge {
		t.Errorf("a file that grows too much: %v", err)
	}
}

// TestLargePartsNeedNoRoom: a commit does with the memory that is set aside for it,
// however large parts are.
func TestLargePartsNeedNoRoom(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		for _, size := range []int64{maxPatchedPut, 2 * maxPatchedPut} {
			r := m.rig(t, Options{PartSize: 32 << 20, Memory: 64 << 20, SpoolSize: 64 << 20})
			base, want := r.baseOf(t, size)
			w := r.b.NewWriter("file", &base, Condition{})
			defer w.Abort()
			patch(t, w, want, 1<<20, 12<<20)
			var taken []slot
			for s, ok := r.b.writes.spool.tryAlloc(); ok; s, ok = r.b.writes.spool.tryAlloc() {
				taken = append(taken, s)
			}
			mustCommit(t, w, Attrs{Meta: base.Meta})
			r.b.writes.spool.release(taken, false)
			r.wantContent(t, "file", want)
		}
	})
}
