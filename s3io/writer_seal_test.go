package s3io

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// TestEveryAttemptSendsTheSameBytes looks at the checksums of what is sent
// again: a frame that was sealed twice would have another one.
func TestEveryAttemptSendsTheSameBytes(t *testing.T) {
	for name, kind := range kinds {
		for _, o := range []Options{sealing(nil), sealing(func(o *Options) { o.Memory = 1 })} {
			t.Run(fmt.Sprint(name, o.Memory), func(t *testing.T) {
				r := newRig(t, o)
				base := r.put(t, "grown", randomBytes(1, minPart+1))
				for _, op := range []string{"PutObject", "UploadPart", "CompleteMultipartUpload"} {
					r.server.Faults.Add(wire.Fault{Op: op, Kind: kind, Times: 2, Status: 503, Code: "SlowDown"})
				}
				large, small, grown := r.b.NewWriter("large", nil, Condition{}), r.b.NewWriter("small", nil, Condition{}), r.b.NewWriter("grown", &base, Condition{})
				for w, size := range map[*Writer]int64{large: 3*minPart + 5, small: 100_000, grown: 9} {
					mustWrite(t, w, randomBytes(2, size), w.Size())
					mustCommit(t, w, Attrs{})
					w.Abort()
				}
				sums := map[string][]string{}
				for _, q := range r.server.Log.Requests() {
					if sum := q.Header.Get("X-Amz-Checksum-Crc32c"); sum != "" {
						what := q.Op + " " + q.Key + " " + q.Query.Get("partNumber")
						sums[what] = append(sums[what], sum)
					}
				}
				again := 0
				for what, all := range sums {
					again += len(all) - 1
					if len(slices.Compact(all)) > 1 {
						t.Errorf("%s: attempts have the checksums %q", what, all)
					}
				}
				if again == 0 {
					t.Errorf("nothing was sent again: %v", slices.Sorted(maps.Keys(sums)))
				}
				r.server.Faults.Clear()
				r.wantContent(t, "large", randomBytes(2, 3*minPart+5))
				r.wantContent(t, "grown", append(randomBytes(1, minPart+1), randomBytes(2, 9)...))
			})
		}
	}
}

// TestReadsWhatIsBeingSent reads first and last part while a commit sends
// them, when their pages are sealed.
func TestReadsWhatIsBeingSent(t *testing.T) {
	for name, o := range map[string]Options{"memory": sealing(nil), "spool": sealing(func(o *Options) { o.Memory = 1 })} {
		for op, size := range map[string]int64{"PutObject": 300_001, "CompleteMultipartUpload": 2*minPart + 300_001} {
			t.Run(name+" "+op, func(t *testing.T) {
				r := newRig(t, o)
				want := randomBytes(3, size)
				w := r.b.NewWriter("file", nil, Condition{})
				defer w.Abort()
				mustWrite(t, w, want, 0)
				h := r.hold(t, op)
				committed := make(chan error)
				go func() {
					_, err := w.Commit(context.Background(), Attrs{})
					committed <- err
				}()
				<-h.reached
				for _, p := range w.held() {
					for i, at := range p.table[:(p.have.prefix()+frameSize-1)/frameSize] {
						if at.sealed == 0 {
							t.Errorf("page %d at %d is not sealed", i, p.from)
						}
					}
				}
				var readers sync.WaitGroup
				for _, off := range []int64{0, frameSize - 3, size - 300_001, size - 7} {
					readers.Go(func() {
						got := make([]byte, 200_000)
						n, err := w.ReadAt(got, off, r.fromBase)
						if err != nil && err != io.EOF && !errors.Is(err, ErrNotHeld) || n == 0 || !bytes.Equal(got[:n], want[off:off+int64(n)]) {
							t.Errorf("read at %d: %d bytes, %v", off, n, err)
						}
					})
				}
				readers.Wait()
				h.release()
				check(t, <-committed)
				r.wantContent(t, "file", want)
			})
		}
	}
}

// TestSmallFileGoesOn changes a file after its commits, which left its pages
// sealed, in all places that matter. Every commit is a message of its own.
func TestSmallFileGoesOn(t *testing.T) {
	for name, o := range map[string]Options{"memory": sealing(nil), "spool": sealing(func(o *Options) { o.Memory = 1 })} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, o)
			w := r.b.NewWriter("file", nil, Condition{})
			defer w.Abort()
			var want []byte
			var before *crypto.Header
			for i, off := range []int64{0, 0, 3, frameSize - 1, 100_000, 2 * frameSize, 3*frameSize - 2, 4 * frameSize} {
				p := randomBytes(uint64(i), 4)
				mustWrite(t, w, p, off)
				want = append(want, make([]byte, max(0, off+4-int64(len(want))))...)
				copy(want[off:], p)
				if i == 5 {
					check(t, w.Truncate(frameSize+1))
					check(t, w.Truncate(2*frameSize))
					clear(want[frameSize+1:])
					want = want[:2*frameSize]
				}
				o := mustCommit(t, w, Attrs{})
				r.wantMessage(t, o, before, true, want)
				before = o.Header
				got := make([]byte, len(want))
				if _, err := w.ReadAt(got, 0, r.fromBase); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("commit %d reads back otherwise at %d: %v", i, firstDifference(got, want), err)
				}
			}
			mustWrite(t, w, randomBytes(9, 2*minPart), int64(len(want))) // what is sealed becomes the first part
			want = append(want, randomBytes(9, 2*minPart)...)
			r.wantMessage(t, mustCommit(t, w, Attrs{}), before, true, want)
		})
	}
}

// TestSealedPagesGoToTheSpool lets a committed file grow when others have taken
// the memory: its first pages move as they are.
func TestSealedPagesGoToTheSpool(t *testing.T) {
	r := newRig(t, sealing(func(o *Options) { o.Memory = 16 * minPart }))
	w := r.b.NewWriter("file", nil, Condition{})
	defer w.Abort()
	want := randomBytes(14, 3<<20+5)
	mustWrite(t, w, want, 0)
	first := mustCommit(t, w, Attrs{})
	for c := large; ; {
		k := r.b.writes.mem.tryGet(c)
		if k == nil && c == small {
			break
		}
		if k == nil {
			c = small
			continue
		}
		defer k.release()
	}
	more := randomBytes(15, minPart)
	mustWrite(t, w, more, int64(len(want)))
	want = append(want, more...)
	if at := w.head.table[0]; at.mem != nil || at.sealed == 0 {
		t.Fatalf("the first page is not sealed in the spool: %+v", at)
	}
	got := make([]byte, 1<<20)
	if _, err := w.ReadAt(got, 1, r.fromBase); err != nil || !bytes.Equal(got, want[1:1+len(got)]) {
		t.Fatalf("it reads otherwise from %d on: %v", firstDifference(got, want[1:]), err)
	}
	r.wantMessage(t, mustCommit(t, w, Attrs{}), first.Header, true, want)
}

// TestObjectsEndWithTheirFinalFrame looks at the last part where a file ends
// with a part or a page.
func TestObjectsEndWithTheirFinalFrame(t *testing.T) {
	for _, c := range []struct {
		size, part int64
		last       string // length of the last part
		parts      int
	}{
		{2 * minPart, minPart, "40", 3},
		{3 * minPart, minPart, "40", 4},
		{2*minPart + 1, minPart, "41", 3},
		{2*minPart + frameSize, minPart, "65608", 3},
		{3*minPart - 1, minPart, fmt.Sprint(crypto.SealedSize(minPart-1) - crypto.HeaderSize), 3},
		{65 << 20, 65<<20 + 7, fmt.Sprint(crypto.SealedSize(65 << 20)), 1},
		{65<<20 - frameSize + 3, 65 << 20, fmt.Sprint(crypto.SealedSize(65<<20 - frameSize + 3)), 1},
	} {
		r := newRig(t, sealing(func(o *Options) { o.PartSize = c.part }))
		w := r.b.NewWriter("file", nil, Condition{})
		want := randomBytes(10, c.size)
		mustWrite(t, w, want, 0)
		mustCommit(t, w, Attrs{})
		w.Abort()
		r.wantContent(t, "file", want)
		lengths := map[string]string{}
		for _, q := range r.server.Log.Requests() {
			if q.Op == "UploadPart" {
				lengths[q.Query.Get("partNumber")] = q.Header.Get("Content-Length")
			}
		}
		if len(lengths) != c.parts || lengths[fmt.Sprint(c.parts)] != c.last {
			t.Errorf("%d bytes in parts of %d were sent as %v", c.size, c.part, lengths)
		}
	}
}

// TestWriterKeepsXattrs stores extended attributes with a file, changes them,
// and lets them be.
func TestWriterKeepsXattrs(t *testing.T) {
	for _, size := range []int64{10, 2*minPart + 1} {
		r := newRig(t, sealing(nil))
		w := r.b.NewWriter("file", nil, Condition{})
		mustWrite(t, w, randomBytes(11, size), 0)
		wants := func(what string, o Object, want map[string][]byte) {
			t.Helper()
			got, err := r.b.Xattrs(t.Context(), o)
			check(t, err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%d bytes, %s: %s", size, what, diff)
			}
		}
		first, second := map[string][]byte{"a": []byte("1")}, map[string][]byte{"b": []byte("2")}
		wants("as they were told", mustCommit(t, w, Attrs{Xattrs: first}), first)
		mustWrite(t, w, []byte("more"), size)
		wants("carried over", mustCommit(t, w, Attrs{}), first)
		wants("nothing changed", mustCommit(t, w, Attrs{Xattrs: first}), first)
		mustWrite(t, w, []byte("more"), size)
		wants("changed with content", mustCommit(t, w, Attrs{Xattrs: second}), second)
		o := mustCommit(t, w, Attrs{Xattrs: first})
		wants("changed alone", o, first)
		w.Abort()
		w = r.b.NewWriter("file", &o, Condition{})
		mustWrite(t, w, randomBytes(12, minPart), o.Size)
		wants("of a base", mustCommit(t, w, Attrs{}), first)
		w.Abort()
	}
}

// TestWriterWithoutItsKey says what is wrong with the key, and keeps the error.
func TestWriterWithoutItsKey(t *testing.T) {
	for _, size := range []int64{10, 2*minPart + 1} {
		r := newRig(t, sealing(func(o *Options) { o.Envelope.KeyPerObject = true }))
		check(t, r.server.KMS.Disable(r.server.KMS.KeyARN(sandbox.KeyAlias)))
		w := r.b.NewWriter("file", nil, Condition{})
		if _, err := w.WriteAt(t.Context(), randomBytes(13, size), 0); err != nil && KindOf(err) != KeyDisabled {
			t.Error(err)
		}
		if _, err := w.Commit(t.Context(), Attrs{}); KindOf(err) != KeyDisabled {
			t.Errorf("%d bytes: %v", size, err)
		}
		wantSticky(t, w, w.Err())
		w.Abort()
		if _, exists := r.stored("file"); exists {
			t.Errorf("%d bytes: the file exists", size)
		}
		check(t, r.server.KMS.Enable(r.server.KMS.KeyARN(sandbox.KeyAlias)))
	}
}
