package s3io

import (
	"bytes"
	"fmt"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// sealing is what newRig needs for an envelope rig with small parts.
func sealing(edit func(*Options)) Options {
	o := Options{PartSize: minPart, Envelope: &Envelope{KeyIDs: []string{sandbox.KeyAlias}}}
	if edit != nil {
		edit(&o)
	}
	return o
}

// wantMessage fails unless key holds want under the message of h; fresh says
// that it must not be that message.
func (r *rig) wantMessage(t *testing.T, o Object, h *crypto.Header, fresh bool, want []byte) {
	t.Helper()
	r.wantContent(t, o.Key, want)
	head, err := r.b.Head(t.Context(), o.Key)
	check(t, err)
	o.LastModified, o.Headers, o.Meta = head.LastModified, head.Headers, head.Meta
	if diff := cmp.Diff(head, o); diff != "" {
		t.Fatalf("the commit's object is not what HEAD says (-head +commit):\n%s", diff)
	}
	if o.Header.Equal(h) == fresh {
		t.Fatalf("of %d bytes: a new message: %v, want %v", len(want), !fresh, fresh)
	}
}

// TestAppendsJoinTheMessage appends to bases that end around frames and parts,
// by a new writer and by one that goes on after its commits.
func TestAppendsJoinTheMessage(t *testing.T) {
	r := newRig(t, sealing(nil))
	for _, size := range []int64{minPart, minPart + 1, minPart + frameSize - 1, minPart + frameSize, 2 * minPart} {
		for i, more := range []int64{1, frameSize - 1, frameSize, minPart - size%frameSize} {
			key := fmt.Sprint(size, i)
			want := randomBytes(uint64(size), size)
			base := r.put(t, key, want)
			w := r.b.NewWriter(key, &base, Condition{})
			lost := int64(0)
			for round := range 2 {
				was := crypto.FinalFrame(crypto.SealedSize(int64(len(want))))
				p := randomBytes(uint64(round), more)
				r.server.Log.Reset()
				mustWrite(t, w, p, int64(len(want)))
				lost += int64(was) - int64(len(want))/frameSize
				want = append(want, p...)
				o := mustCommit(t, w, Attrs{Meta: base.Meta})
				if n := r.count("GetObject"); (n > 0) != (round == 0) {
					t.Errorf("%d bytes to %d, commit %d: %d GETs", more, size, round, n)
				}
				if r.count("UploadPartCopy") == 0 {
					t.Errorf("%d bytes to %d, commit %d: nothing was copied", more, size, round)
				}
				r.wantMessage(t, o, base.Header, false, want)
				if o.Spliced != lost || r.meta(key)[metaSpliced] != strconv.FormatInt(lost, 10) {
					t.Errorf("%d bytes to %d, commit %d: %d frames replaced, want %d", more, size, round, o.Spliced, lost)
				}
			}
			w.Abort()
			check(t, r.b.Delete(t.Context(), Object{Key: key}))
		}
	}
}

// TestAppendAsksForTheLastFrameOnly counts what a new writer reads.
func TestAppendAsksForTheLastFrameOnly(t *testing.T) {
	r := newRig(t, sealing(nil))
	for size, rng := range map[int64]string{
		2*minPart + 7: fmt.Sprintf("bytes=%d-%d", crypto.FrameOffset(161), crypto.FrameOffset(161)+7+crypto.FinalOverhead-1),
		2 * minPart:   fmt.Sprintf("bytes=%d-%d", crypto.FrameOffset(160), crypto.FrameOffset(161)+crypto.FinalOverhead-1),
	} {
		want := randomBytes(3, size)
		base := r.put(t, "file", want)
		w := r.b.NewWriter("file", &base, Condition{})
		mustWrite(t, w, []byte("more"), size)
		mustCommit(t, w, Attrs{Meta: base.Meta})
		w.Abort()
		var asked []string
		for _, q := range r.server.Log.Requests() {
			if q.Op == "GetObject" {
				asked = append(asked, q.Header.Get("Range"))
			}
		}
		if diff := cmp.Diff([]string{rng}, asked); diff != "" {
			t.Errorf("base of %d bytes: %s", size, diff)
		}
	}
}

// TestAppendsToAFullFinalFrame appends to what an Encryption SDK would have
// made: its last frame is final and full.
func TestAppendsToAFullFinalFrame(t *testing.T) {
	r := newRig(t, sealing(nil))
	for _, size := range []int64{frameSize, minPart, minPart + frameSize, 2 * minPart} {
		for _, cut := range []int64{0, 1, frameSize} {
			want := randomBytes(4, size)
			base := r.plant(t, "file", r.seal(t, "file", want, true), nil)
			w := r.b.NewWriter("file", &base, Condition{})
			check(t, w.Truncate(size-cut))
			mustWrite(t, w, []byte("more"), size-cut)
			o := mustCommit(t, w, Attrs{})
			regular := min(size-frameSize, (size-cut)/frameSize*frameSize)
			r.wantMessage(t, o, base.Header, regular < minPart, append(want[:size-cut], "more"...))
			w.Abort()
		}
	}
}

// TestTruncatesIntoABase cuts a base, and appends to what is left.
func TestTruncatesIntoABase(t *testing.T) {
	for name, o := range map[string]Options{
		"splice":   sealing(nil),
		"whole":    sealing(func(o *Options) { o.Envelope.NoSplice = true }),
		"scarce":   sealing(func(o *Options) { o.Memory = 1 }),
		"no space": sealing(func(o *Options) { o.Envelope.NoSplice, o.Memory = true, 1 }),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, o)
			content := randomBytes(5, 2*minPart+frameSize+9)
			for _, size := range []int64{0, 1, frameSize, minPart - 1, minPart, minPart + 1, minPart + frameSize, 2*minPart + frameSize, int64(len(content)) - 1} {
				base := r.put(t, "file", content)
				want := bytes.Clone(content[:size])
				w := r.b.NewWriter("file", &base, Condition{})
				check(t, w.Truncate(size+1))
				check(t, w.Truncate(size))
				fresh := o.Envelope.NoSplice || size < minPart
				r.wantMessage(t, mustCommit(t, w, Attrs{Meta: base.Meta}), base.Header, fresh, want)
				mustWrite(t, w, []byte("more"), size)
				want = append(want, "more"...)
				r.wantMessage(t, mustCommit(t, w, Attrs{Meta: base.Meta}), base.Header, fresh, want)
				w.Abort()
			}
		})
	}
}

// TestSealsAnewWhatCannotBeJoined lists why a base is read and sealed again.
func TestSealsAnewWhatCannotBeJoined(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func(*Options)
		base  func(*rig, *Object)
		key   string
		fresh bool
	}{
		"joined":                   {key: "old"},
		"other name, by bucket":    {key: "new"},
		"other name, by object":    {edit: func(o *Options) { o.Envelope.Scope = crypto.ScopeObject }, key: "new", fresh: true},
		"same name, by object":     {edit: func(o *Options) { o.Envelope.Scope = crypto.ScopeObject }, key: "old"},
		"splices are off":          {edit: func(o *Options) { o.Envelope.NoSplice = true }, key: "old", fresh: true},
		"copies are not pinned":    {base: func(r *rig, _ *Object) { r.b.caps.CopyIfMatch = false }, key: "old", fresh: true},
		"sealed too often":         {base: func(_ *rig, o *Object) { o.Spliced = maxReplaced }, key: "old", fresh: true},
		"almost too often":         {base: func(_ *rig, o *Object) { o.Spliced = maxReplaced - 1 }, key: "old"},
		"nobody knows how often":   {base: func(_ *rig, o *Object) { o.Head = false }, key: "old", fresh: true},
		"header not known":         {base: func(_ *rig, o *Object) { o.Header = nil }, key: "old"},
		"too small to be a part":   {base: func(_ *rig, o *Object) { o.Size = minPart - 1 }, key: "old", fresh: true},
		"a key for every object":   {edit: func(o *Options) { o.Envelope.KeyPerObject = true }, key: "old"},
		"S3 encrypts as well":      {edit: func(o *Options) { o.Policy.Mode = ModeKMS }, key: "old"},
		"memory for nothing":       {edit: func(o *Options) { o.Memory = 1 }, key: "old"},
		"no memory, no splices":    {edit: func(o *Options) { o.Memory, o.Envelope.NoSplice = 1, true }, key: "old", fresh: true},
		"no read-ahead, no splice": {edit: func(o *Options) { o.ReadAhead, o.Envelope.NoSplice = -1, true }, key: "old", fresh: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, sealing(c.edit))
			want := randomBytes(6, 2*minPart+frameSize)
			base := r.put(t, "old", want)
			h := base.Header
			if c.base != nil {
				c.base(r, &base)
			}
			w := r.b.NewWriter(c.key, &base, Condition{})
			want = append(want[:base.Size], "more"...)
			if c.key != "old" {
				w.cond = Condition{IfAbsent: true}
			}
			check(t, w.Truncate(base.Size))
			mustWrite(t, w, []byte("more"), base.Size)
			o := mustCommit(t, w, Attrs{Meta: base.Meta})
			r.wantMessage(t, o, h, c.fresh, want)
			w.Abort()
		})
	}
}

// TestSpliceRefusesWhatDoesNotOpen leaves an object alone whose last frame is
// damaged, and one that is not sealed.
func TestSpliceRefusesWhatDoesNotOpen(t *testing.T) {
	r := newRig(t, sealing(func(o *Options) { o.Envelope.PassForeign = true }))
	content := randomBytes(7, 2*minPart)
	damaged := r.seal(t, "damaged", content, false)
	damaged[len(damaged)-1] ^= 1
	for key, c := range map[string]struct {
		object []byte
		kind   Kind
	}{
		"damaged": {damaged, Integrity},
		"foreign": {content, KeyRejected},
		"fits":    {append(content, make([]byte, crypto.SealedSize(2*minPart)-2*minPart)...), KeyRejected},
		"short":   {content[:1000], KeyRejected},
	} {
		base := r.plant(t, key, c.object, nil)
		w := r.b.NewWriter(key, &base, Condition{})
		for range 2 {
			if _, err := w.WriteAt(t.Context(), []byte("more"), base.Size); KindOf(err) != c.kind {
				t.Errorf("%s: an append says %v", key, err)
			}
		}
		check(t, w.Truncate(base.Size+1))
		if _, err := w.Commit(t.Context(), Attrs{}); KindOf(err) != c.kind {
			t.Errorf("%s: a commit says %v", key, err)
		}
		w.Abort()
		if now, _ := r.stored(key); !bytes.Equal(now, c.object) {
			t.Errorf("%s was changed", key)
		}
		w = r.b.NewWriter(key, &base, Condition{}) // to replace it is allowed
		check(t, w.Truncate(0))
		mustWrite(t, w, []byte("new"), 0)
		mustCommit(t, w, Attrs{})
		r.wantContent(t, key, []byte("new"))
		w.Abort()
	}
}

// TestSpliceBelievesTheObject joins the message that the object has, whatever
// its metadata says.
func TestSpliceBelievesTheObject(t *testing.T) {
	r := newRig(t, sealing(nil))
	for _, size := range []int64{2 * minPart, 2*minPart + 1} {
		want := randomBytes(8, size)
		object := r.seal(t, "file", want, false)
		h, err := crypto.ParseHeader(object)
		check(t, err)
		other, err := crypto.ParseHeader(r.seal(t, "file", nil, false))
		check(t, err)
		base := r.plant(t, "file", object, inMeta(other))
		if !base.Header.Equal(other) {
			t.Fatal("HEAD does not say what the metadata says")
		}
		w := r.b.NewWriter("file", &base, Condition{})
		mustWrite(t, w, []byte("more"), size)
		o := mustCommit(t, w, Attrs{})
		r.wantMessage(t, o, h, false, append(want, "more"...))
		w.Abort()
	}
}

// TestWholeBaseSurvivesBrokenAnswers reads a large base although connections
// break, and goes on after it failed.
func TestWholeBaseSurvivesBrokenAnswers(t *testing.T) {
	r := newRig(t, sealing(func(o *Options) { o.Envelope.NoSplice = true }))
	want := randomBytes(9, 3*minPart+5)
	base := r.put(t, "file", want)
	w := r.b.NewWriter("file", &base, Condition{})
	rule := r.server.Faults.Add(wire.Fault{Op: "GetObject", Kind: wire.Answer, Skip: 2, Status: 403, Code: "AccessDenied"})
	if _, err := w.WriteAt(t.Context(), []byte("x"), base.Size); KindOf(err) != Permission {
		t.Fatalf("a write whose base cannot be read: %v", err)
	}
	rule.Remove()
	broken := r.server.Faults.Add(wire.Fault{Op: "GetObject", Kind: wire.ResetBody, Cut: 3 << 20, Times: 1})
	mustWrite(t, w, []byte("more"), base.Size)
	if broken.Hits() != 1 {
		t.Fatal("no answer was broken")
	}
	o := mustCommit(t, w, Attrs{Meta: base.Meta})
	r.wantMessage(t, o, base.Header, true, append(want, "more"...))
	w.Abort()
}
