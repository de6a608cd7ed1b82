package s3io

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// refuse has the server refuse what makes objects.
func (r *rig) refuse() {
	for _, op := range []string{"PutObject", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload"} {
		r.server.Faults.Add(wire.Fault{Kind: wire.Answer, Op: op, Status: 403, Code: "AccessDenied"})
	}
}

// salvaged returns what is left of w, which must be as it is the second time.
func salvaged(t *testing.T, r *rig, w *Writer, base bool) ([]byte, Remains) {
	t.Helper()
	fromBase := r.fromBase
	if !base {
		fromBase = nil
	}
	var first, second bytes.Buffer
	got, err := w.Salvage(t.Context(), &first, fromBase)
	check(t, err)
	_, err = w.Salvage(t.Context(), &second, fromBase)
	check(t, err)
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("a second Salvage found something else")
	}
	return first.Bytes(), got
}

func TestSalvageAfterARefusedCommit(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		for name, size := range map[string]int{"empty": 0, "small": 1000, "one part": minPart, "parts": 4*minPart + 100} {
			t.Run(name, func(t *testing.T) {
				r := m.rig(t, Options{PartSize: minPart})
				r.refuse()
				w := r.b.NewWriter("file", nil, Condition{})
				w.Hold()
				want := randomBytes(1, int64(size))
				for at := 0; at < size; at += minPart { // what fails meanwhile is held on
					if _, err := w.WriteAt(t.Context(), want[at:min(at+minPart, size)], int64(at)); err != nil {
						want = want[:at]
						break
					}
				}
				if _, err := w.Commit(t.Context(), Attrs{}); KindOf(err) != Permission {
					t.Fatalf("commit: %v", err)
				}
				got, remains := salvaged(t, r, w, false)
				if !remains.Whole() || !bytes.Equal(got, want[:remains.Size]) {
					t.Errorf("%d of %d bytes, %+v", len(got), len(want), remains)
				}
				w.Abort()
				r.b.writes.wait()
				if _, err := w.Salvage(t.Context(), &bytes.Buffer{}, nil); !errors.Is(err, ErrNotHeld) {
					t.Errorf("after Abort: %v", err)
				}
			})
		}
	})
}

func TestSalvageOfWhatRoams(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		want := randomBytes(1, 6*minPart)
		base := r.put(t, "file", want)
		w := r.b.NewWriter("file", &base, Condition{})
		w.Hold()
		change := randomBytes(1, 3000)
		mustWrite(t, w, change, 2*minPart+17)
		mustWrite(t, w, change, 6*minPart+1000) // zeros before it
		copy(want[2*minPart+17:], change)
		want = append(append(want, make([]byte, 1000)...), change...)
		r.refuse()
		if _, err := w.Commit(t.Context(), Attrs{}); KindOf(err) != Permission {
			t.Fatalf("commit: %v", err)
		}
		got, remains := salvaged(t, r, w, true)
		if !remains.Whole() || !bytes.Equal(got, want) {
			t.Errorf("with its base: %+v", remains)
		}
		got, remains = salvaged(t, r, w, false)
		wantKept := []Extent{{2*minPart + 17, 2*minPart + 3017}, {6 * minPart, 6*minPart + 4000}}
		if diff := cmp.Diff(wantKept, remains.Kept); diff != "" || remains.Base == nil || remains.Base.ETag != base.ETag {
			t.Errorf("without its base: %s %+v", diff, remains)
		}
		if !bytes.Equal(got, append(append([]byte{}, change...), want[6*minPart:]...)) {
			t.Error("without its base: other bytes than those that were written")
		}
		fail := func(Object, []byte, int64) error { return errors.New("no answer") }
		if _, err := w.Salvage(t.Context(), &bytes.Buffer{}, fail); !errors.Is(err, ErrBase) {
			t.Errorf("with a base that cannot be read: %v", err)
		}
		w.Abort()
	})
}

// TestSalvageNamesWhatIsLost: a part that was sent and is held nowhere is in an upload
// that is going to be aborted.
func TestSalvageNamesWhatIsLost(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		w := r.b.NewWriter("file", nil, Condition{})
		want := randomBytes(1, 4*minPart+10)
		mustWrite(t, w, want[:2*minPart], 0)
		waitFor(t, func() bool { return r.count("UploadPart") == 1 })
		r.b.writes.wait()
		w.Hold()
		r.refuse()
		_, _ = w.WriteAt(t.Context(), want[2*minPart:], 2*minPart)
		if _, err := w.Commit(t.Context(), Attrs{}); KindOf(err) != Permission {
			t.Fatalf("commit: %v", err)
		}
		got, remains := salvaged(t, r, w, false)
		if diff := cmp.Diff([]Extent{{minPart, 2 * minPart}}, remains.Lost); diff != "" {
			t.Error(diff)
		}
		if !bytes.Equal(got, append(want[:minPart:minPart], want[2*minPart:remains.Size]...)) {
			t.Error("what is left is not what was written")
		}
		w.Abort()
	})
}

func TestSalvageAfterGiveUp(t *testing.T) {
	r := newRig(t, Options{PartSize: minPart})
	want := randomBytes(1, 2*minPart+5)
	w := r.b.NewWriter("file", nil, Condition{})
	w.Hold()
	// Nothing comes of it: a request that hangs could be carried out after its end.
	begin := r.server.Faults.Add(wire.Fault{Op: "CreateMultipartUpload", Kind: wire.ResetBefore})
	mustWrite(t, w, want, 0)
	got := make(chan error, 1)
	go func() {
		_, err := w.Commit(t.Context(), Attrs{})
		got <- err
	}()
	<-begin.Struck()
	r.b.GiveUp()
	if err := <-got; err == nil {
		t.Fatal("the commit came to an end")
	}
	bytesLeft, remains := salvaged(t, r, w, false)
	if !remains.Whole() || !bytes.Equal(bytesLeft, want) {
		t.Errorf("%+v", remains)
	}
	w.Abort()
}

// TestAWriterThatHoldsWhatFailedDoesNotWaitForIt: what failed and is held on frees no
// memory, so that a write which waits for memory must not wait for that.
func TestAWriterThatHoldsWhatFailedDoesNotWaitForIt(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{Memory: 16 * m.inMemory(minPart), PartSize: minPart})
		begin := r.hold(t, "CreateMultipartUpload")
		w := r.b.NewWriter("file", nil, Condition{})
		w.Hold()
		defer w.Abort()
		want := randomBytes(1, 5*minPart)
		mustWrite(t, w, want[:4*minPart], 0) // all there is
		done := make(chan error, 1)
		go func() {
			_, err := w.WriteAt(t.Context(), want[4*minPart:], 4*minPart)
			done <- err
		}()
		mem := r.b.writes.mem
		waitFor(t, func() bool {
			mem.mu.Lock()
			defer mem.mu.Unlock()
			return len(mem.waiters) > 0
		})
		r.refuse()
		begin.release()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("the write hangs")
		}
		if _, err := w.Commit(t.Context(), Attrs{}); KindOf(err) != Permission {
			t.Fatalf("commit: %v", err)
		}
		got, remains := salvaged(t, r, w, false)
		if !remains.Whole() || !bytes.Equal(got, want[:remains.Size]) {
			t.Errorf("%d bytes, %+v", len(got), remains)
		}
	})
}

// asked is a context that tells when it is waited for.
type asked struct {
	context.Context
	once func()
}

func (a asked) Done() <-chan struct{} { a.once(); return a.Context.Done() }

// TestSalvageFindsWhatFailsMeanwhile: Salvage may come before the Writer itself has
// taken back what could not be sent.
func TestSalvageFindsWhatFailsMeanwhile(t *testing.T) {
	r := newRig(t, Options{PartSize: minPart})
	begin := r.hold(t, "CreateMultipartUpload")
	w := r.b.NewWriter("file", nil, Condition{})
	w.Hold()
	defer w.Abort()
	want := randomBytes(1, 3*minPart)
	mustWrite(t, w, want, 0)
	w.op <- struct{}{}
	waits := make(chan struct{})
	ctx := asked{t.Context(), sync.OnceFunc(func() { close(waits) })}
	var got bytes.Buffer
	remains := make(chan Remains, 1)
	go func() {
		found, err := w.Salvage(ctx, &got, nil)
		if err != nil {
			t.Error(err)
		}
		remains <- found
	}()
	<-waits
	r.refuse()
	begin.release()
	waitFor(t, func() bool { return w.Err() != nil })
	w.unlock()
	if found := <-remains; !found.Whole() || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d of %d bytes, %+v", got.Len(), len(want), found)
	}
}
