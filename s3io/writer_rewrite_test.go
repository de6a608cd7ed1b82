package s3io

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// TestRewriteSealsAnew replaces objects by themselves.
func TestRewriteSealsAnew(t *testing.T) {
	r := newRig(t, sealing(nil))
	for _, size := range []int64{0, 1, frameSize, minPart + 1, 3*minPart + frameSize} {
		want := randomBytes(1, size)
		xattrs := map[string][]byte{"user.a": []byte("b")}
		src, err := r.b.Put(t.Context(), "file", bytes.NewReader(want), size, Attrs{
			Meta: map[string]string{"mode": "1"}, Headers: Headers{ContentType: "text/x-test"}, Xattrs: xattrs,
		}, Condition{})
		check(t, err)
		stale := src
		for range 2 { // the second time of a listing's object
			o, err := r.b.Rewrite(t.Context(), src, Attrs{Meta: src.Meta})
			check(t, err)
			r.wantMessage(t, o, src.Header, true, want)
			got, err := r.b.Xattrs(t.Context(), o)
			check(t, err)
			if diff := cmp.Diff(xattrs, got); diff != "" || o.Meta["mode"] != "1" || o.Headers.ContentType != "text/x-test" {
				t.Errorf("%d bytes: stored with %+v, %s", size, o, diff)
			}
			src = Object{Key: "file", Size: size, Stored: o.Stored, Form: Sealed, ETag: o.ETag, Meta: o.Meta, Header: o.Header}
		}
		if _, err := r.b.Rewrite(t.Context(), stale, Attrs{}); KindOf(err) != Stale {
			t.Errorf("%d bytes: a rewrite of what is gone: %v", size, err)
		}
		r.wantContent(t, "file", want)
	}
	foreign := r.plant(t, "foreign", []byte("text"), nil)
	if _, err := r.b.Rewrite(t.Context(), foreign, Attrs{}); KindOf(err) != KeyRejected {
		t.Errorf("a rewrite of what is not sealed: %v", err)
	}
}

// TestRewriteUnderAnotherName is what a rename does where objects are bound to
// their keys.
func TestRewriteUnderAnotherName(t *testing.T) {
	r := newRig(t, sealing(func(o *Options) { o.Envelope.Scope = crypto.ScopeObject }))
	for _, size := range []int64{10, 2*minPart + 1} {
		want := randomBytes(2, size)
		src := r.put(t, "old", want)
		for name, c := range map[string]Condition{"new": {IfAbsent: true}, "any": {}} {
			o, err := r.b.rewrite(t.Context(), src, name, Attrs{Meta: src.Meta}, c)
			check(t, err)
			r.wantMessage(t, o, src.Header, true, want)
		}
		if _, err := r.b.rewrite(t.Context(), src, "new", Attrs{}, Condition{IfAbsent: true}); KindOf(err) != Exists {
			t.Errorf("onto what is there: %v", err)
		}
		r.wantContent(t, "old", want)
		for _, name := range []string{"old", "new", "any"} {
			check(t, r.b.Delete(t.Context(), Object{Key: name}))
		}
	}
}

// TestRewriteLeavesNothingBehind fails in both forms.
func TestRewriteLeavesNothingBehind(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, sealing(nil))
			want := randomBytes(3, 2*minPart+1)
			src := r.put(t, "file", want)
			r.server.Faults.Add(wire.Fault{Op: "UploadPart", Kind: kind, Times: 1, Status: 503, Code: "SlowDown"})
			r.server.Faults.Add(wire.Fault{Op: "CompleteMultipartUpload", Kind: kind, Times: 1, Status: 503, Code: "SlowDown"})
			o, err := r.b.Rewrite(t.Context(), src, Attrs{})
			check(t, err)
			r.wantMessage(t, o, src.Header, true, want)
			r.server.Faults.Add(wire.Fault{Op: "UploadPart", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
			if _, err := r.b.Rewrite(t.Context(), o, Attrs{}); KindOf(err) != Permission {
				t.Errorf("without the right to: %v", err)
			}
			r.b.writes.wait()
			r.wantContent(t, "file", want)
		})
	}
}

// TestPutSeals stores what fs and doctor store by Put.
func TestPutSeals(t *testing.T) {
	for _, memory := range []int64{0, 1} {
		r := newRig(t, sealing(func(o *Options) { o.Memory = memory }))
		for _, size := range []int64{0, 1, frameSize, minPart + 1} {
			want := randomBytes(4, size)
			o, err := r.b.Put(t.Context(), "file", bytes.NewReader(want), size, Attrs{}, Condition{})
			check(t, err)
			r.wantMessage(t, o, nil, true, want)
		}
		if _, err := r.b.Put(t.Context(), "short", bytes.NewReader(nil), 1, Attrs{}, Condition{}); err == nil {
			t.Error("a body that ends too early was stored")
		}
		marker, err := r.b.Put(t.Context(), "dir/", bytes.NewReader(nil), 0, Attrs{}, Condition{})
		check(t, err)
		if object, _ := r.stored("dir/"); len(object) != 0 || marker.Form != Plain {
			t.Errorf("a marker is %+v of %d bytes", marker, len(object))
		}
		if _, err := r.b.Put(t.Context(), "dir/", bytes.NewReader([]byte("x")), 1, Attrs{}, Condition{}); err == nil {
			t.Error("a marker with content was stored")
		}
	}
	r := newRig(t, sealing(func(o *Options) { o.Memory, o.SpoolSize = 1, 1<<20 }))
	_, err := r.b.Put(t.Context(), "large", bytes.NewReader(make([]byte, 2<<20)), 2<<20, Attrs{}, Condition{})
	if KindOf(err) != NoSpace {
		t.Errorf("without room: %v", err)
	}
	if _, err := r.b.Put(t.Context(), "huge", nil, maxSealedPart+1, Attrs{}, Condition{}); KindOf(err) != TooLarge {
		t.Errorf("more than one request takes: %v", err)
	}
}
