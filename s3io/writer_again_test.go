package s3io

import (
	"bytes"
	"testing"

	"github.com/kmsfs/kmsfs/crypto"
)

// TestAppendAfterPut appends to what the same Writer put in one request after
// it had made an upload: the frames join the newer message.
func TestAppendAfterPut(t *testing.T) {
	r := newRig(t, sealing(nil))
	w := r.b.NewWriter("file", nil, Condition{})
	defer w.Abort()
	want := randomBytes(1, 2*minPart+100)
	mustWrite(t, w, want, 0)
	mustCommit(t, w, Attrs{})
	check(t, w.Truncate(minPart-1000))
	want = want[:minPart-1000]
	for round := range uint64(3) {
		p := randomBytes(round, 5000)
		mustWrite(t, w, p, int64(len(want)))
		want = append(want, p...)
		mustCommit(t, w, Attrs{})
		r.wantContent(t, "file", want)
	}
}

// TestFakeEmptyIsNotSealedAnew refuses to make a genuine file of an object that
// only has the size of an empty one.
func TestFakeEmptyIsNotSealedAnew(t *testing.T) {
	s := newStage(t)
	b := s.vault(func(o *Options) { o.Envelope.Scope = crypto.ScopeObject })
	content, h := s.seal(b, "a", nil, false)
	content[len(content)-1] ^= 1
	s.plant(b, "a", content, inMeta(h))
	fake, err := b.Head(s.ctx, "a")
	if err != nil || fake.Size != 0 || fake.Form != Sealed {
		t.Fatalf("%+v, %v", fake, err)
	}
	_, err = b.Copy(s.ctx, fake, "b", Attrs{}, Condition{})
	wantKind(t, err, Integrity)
	_, err = b.Rewrite(s.ctx, fake, Attrs{})
	wantKind(t, err, Integrity)
	w := b.NewWriter("a", &fake, Condition{})
	defer w.Abort()
	if err := w.Truncate(10); err != nil {
		t.Fatal(err)
	}
	_, err = w.Commit(s.ctx, Attrs{})
	wantKind(t, err, Integrity)
}

// TestWhatFitsCanBeSpliced changes the content of a file whose attributes are as
// large as they can be.
func TestWhatFitsCanBeSpliced(t *testing.T) {
	r := newRig(t, sealing(nil))
	of := func(n int) Attrs { return Attrs{Xattrs: map[string][]byte{"user.a": bytes.Repeat([]byte("x"), n)}} }
	n := 1
	for r.b.Fits("file", of(n+1)) == nil {
		n++
	}
	w := r.b.NewWriter("file", nil, Condition{})
	defer w.Abort()
	size := int64(2*minPart + 100)
	mustWrite(t, w, randomBytes(1, size), 0)
	mustCommit(t, w, of(n))
	mustWrite(t, w, randomBytes(2, 100), size)
	mustCommit(t, w, Attrs{})
}

// TestWriteOnlyGoesOn writes on after commits when the data key of those is
// gone, on a host that may not have it opened.
func TestWriteOnlyGoesOn(t *testing.T) {
	for _, size := range []int64{1000, minPart + 100, 2*minPart + 100} {
		r := newRig(t, sealing(func(o *Options) { o.Envelope.WriteOnly = true }))
		w := r.b.NewWriter("file", nil, Condition{})
		mustWrite(t, w, randomBytes(1, size), 0)
		mustCommit(t, w, Attrs{Xattrs: map[string][]byte{"user.a": []byte("x")}})
		r.b.Keyring().Flush()
		mustWrite(t, w, randomBytes(2, 1000), size)
		if o := mustCommit(t, w, Attrs{}); o.Size != size+1000 || o.Xattrs == "" {
			t.Errorf("%+v", o)
		}
		w.Abort()
	}
}
