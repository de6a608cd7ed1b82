package s3io

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// lies are answers that do not prove the policy.
func lies(s *stage) map[string]func(http.Header) {
	return map[string]func(http.Header){
		"no echo": func(h http.Header) {
			for _, name := range []string{headerSSE, headerKeyID, headerContext, headerBucketKey} {
				h.Del(name)
			}
		},
		"other key":       func(h http.Header) { h.Set(headerKeyID, s.box.KMS.KeyARN(sandbox.OtherAlias)) },
		"other algorithm": func(h http.Header) { h.Set(headerSSE, ModeS3); h.Del(headerKeyID) },
	}
}

// buckets are the three kinds, and which of them can bring back what was
// replaced.
func buckets() map[string]bool {
	return map[string]bool{sandbox.Bucket: false, "enabled": true, "suspended": false}
}

// TestLieAboutNewObject has every way of creating an object end with
// Unverified, with nothing left behind and everything else in place.
func TestLieAboutNewObject(t *testing.T) {
	s := newStage(t)
	for bucket := range buckets() {
		b := s.mount(func(o *Options) { o.Bucket, o.Prefix = bucket, "" })
		src := s.mustPut(b, "src", "text")
		for op, way := range ways(s, b, src) {
			for name, lie := range lies(s) {
				t.Run(strings.Join([]string{bucket, op, name}, "/"), func(t *testing.T) {
					rule := s.fault(wire.Fault{Op: op, Kind: wire.EditHeader, Edit: lie})
					_, err := way(Condition{IfAbsent: true})
					wantKind(t, err, Unverified)
					wantText(t, err, "removed")
					if rule.Hits() != 1 {
						t.Errorf("%d requests, want one", rule.Hits())
					}
					s.box.Faults.Clear()
					if left := strings.Join(s.remains(b), ", "); left != "version src" {
						t.Errorf("the bucket holds %s", left)
					}
					if ro, _ := b.ReadOnly(); ro {
						t.Error("the bucket became read-only")
					}
				})
			}
		}
	}
}

// TestLieAboutUpload refuses an upload before its first byte.
func TestLieAboutUpload(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	for name, lie := range lies(s) {
		s.fault(wire.Fault{Op: "CreateMultipartUpload", Kind: wire.EditHeader, Edit: lie})
		_, err := b.createUpload(s.ctx, "a", Attrs{})
		wantKind(t, err, Unverified)
		s.box.Faults.Clear()
		if left := s.remains(b); len(left) > 0 {
			t.Errorf("%s: left are %v", name, left)
		}
	}
	if n := b.Stats().Unverified; n != 3 {
		t.Errorf("%d lies were counted, want 3", n)
	}
}

// replacing are the ways of replacing "new", whose content is "old", by "text".
func replacing(s *stage, b *Bucket, src, old Object) map[string]func() (Object, error) {
	c := Condition{IfMatch: old.ETag}
	return map[string]func() (Object, error){
		"PutObject": func() (Object, error) {
			return b.Put(s.ctx, "new", strings.NewReader("text"), 4, Attrs{Base: &old}, c)
		},
		"CopyObject": func() (Object, error) { return b.Copy(s.ctx, src, "new", Attrs{}, c) },
		"CompleteMultipartUpload": func() (Object, error) {
			u, parts := s.upload(b, "new", "text", Attrs{Base: &old})
			o, err := b.completeUpload(s.ctx, u, parts, 4, c)
			if abort := b.abortUpload(s.ctx, u); abort != nil {
				s.t.Error(abort)
			}
			return o, err
		},
	}
}

// TestOneLieAboutReplacement heals by a second try where the first destroyed
// the old content, or could be taken back.
func TestOneLieAboutReplacement(t *testing.T) {
	s := newStage(t)
	for bucket := range buckets() {
		b := s.mount(func(o *Options) { o.Bucket, o.Prefix = bucket, "" })
		src := s.mustPut(b, "src", "text")
		for _, op := range []string{"PutObject", "CopyObject", "CompleteMultipartUpload"} {
			t.Run(bucket+"/"+op, func(t *testing.T) {
				old := s.mustPut(b, "new", "old")
				s.fault(wire.Fault{Op: op, Times: 1, Kind: wire.EditHeader, Edit: lies(s)["other key"]})
				o, err := replacing(s, b, src, old)[op]()
				s.box.Faults.Clear()
				got := s.text(b, "new")
				if op == "CompleteMultipartUpload" && bucket == "enabled" {
					wantKind(t, err, Unverified) // there is nothing to send again: the old version is back
					if got != "old" {
						t.Errorf("got %q", got)
					}
					return
				}
				if err != nil || got != "text" || s.content(b, o) != "text" {
					t.Fatalf("got %q, %v", got, err)
				}
				if ro, why := b.ReadOnly(); ro {
					t.Errorf("the bucket became read-only: %s", why)
				}
			})
		}
	}
}

// TestLastingLieAboutReplacement never costs the last good content: it is
// brought back where there are versions, and else what replaced it is kept.
func TestLastingLieAboutReplacement(t *testing.T) {
	s := newStage(t)
	for bucket, versioned := range buckets() {
		for _, op := range []string{"PutObject", "CopyObject", "CompleteMultipartUpload"} {
			for name, lie := range lies(s) {
				t.Run(strings.Join([]string{bucket, op, name}, "/"), func(t *testing.T) {
					b := s.mount(func(o *Options) { o.Bucket, o.Prefix = bucket, fmt.Sprintf("%s-%s/", op, name) })
					src, old := s.mustPut(b, "src", "text"), s.mustPut(b, "new", "old")
					ops := []string{op}
					if op == "CompleteMultipartUpload" {
						ops = append(ops, "CopyObject") // its second try
					}
					for _, op := range ops {
						s.fault(wire.Fault{Op: op, Kind: wire.EditHeader, Edit: lie})
					}
					_, err := replacing(s, b, src, old)[op]()
					wantKind(t, err, Unverified)
					s.box.Faults.Clear()
					want, wantRO := "old", false
					switch {
					case versioned:
					case op == "CopyObject":
						want = "absent" // its content is at the source
					default:
						want, wantRO = "text", true
					}
					if got := s.text(b, "new"); got != want {
						t.Errorf("got %q, want %q", got, want)
					}
					if got := s.text(b, "src"); got != "text" {
						t.Errorf("the source became %q", got)
					}
					ro, why := b.ReadOnly()
					if ro != wantRO || ro && !strings.Contains(why, "new") {
						t.Errorf("read-only is %v (%s), want %v", ro, why, wantRO)
					}
				})
			}
		}
	}
}

// TestLieAboutCopyInPlace copies once more, then fails closed and keeps the
// content whatever the bucket.
func TestLieAboutCopyInPlace(t *testing.T) {
	s := newStage(t)
	for bucket, versioned := range buckets() {
		for name, lie := range lies(s) {
			t.Run(bucket+"/"+name, func(t *testing.T) {
				b := s.mount(func(o *Options) { o.Bucket, o.Prefix = bucket, name+"/" })
				o := s.mustPut(b, "a", "text")
				s.fault(wire.Fault{Op: "CopyObject", Times: 1, Kind: wire.EditHeader, Edit: lie})
				o, err := b.Copy(s.ctx, o, "a", Attrs{Meta: map[string]string{"mode": "1"}}, Condition{})
				if err != nil {
					t.Fatalf("one lie: %v", err)
				}
				head, err := b.Head(s.ctx, "a")
				if err != nil || head.Meta["mode"] != "1" || s.content(b, o) != "text" {
					t.Fatalf("after one lie: %+v, %v", head, err)
				}
				s.box.Faults.Clear()
				rule := s.fault(wire.Fault{Op: "CopyObject", Kind: wire.EditHeader, Edit: lie})
				_, err = b.Copy(s.ctx, o, "a", Attrs{Meta: map[string]string{"mode": "2"}}, Condition{})
				wantKind(t, err, Unverified)
				if rule.Hits() != 2 {
					t.Errorf("%d copies, want 2", rule.Hits())
				}
				s.box.Faults.Clear()
				head, err = b.Head(s.ctx, "a")
				if err != nil || s.content(b, head) != "text" || versioned && head.ETag != o.ETag {
					t.Errorf("the content is lost: %+v, %v", head, err)
				}
				if ro, why := b.ReadOnly(); !ro || !strings.Contains(why, `"a"`) {
					t.Errorf("read-only is %v: %s", ro, why)
				}
				_, err = s.put(b, "b", "x", Condition{})
				wantKind(t, err, ReadOnlyBucket)
			})
		}
	}
}

// TestWithoutTheRightToDeleteVersions hides what it cannot remove, says so, and
// never hides what was there before.
func TestWithoutTheRightToDeleteVersions(t *testing.T) {
	s := newStage(t)
	for _, bucket := range []string{"enabled", "suspended"} {
		t.Run(bucket, func(t *testing.T) {
			b := s.mount(func(o *Options) { o.Bucket = bucket })
			undo := s.box.Denials.Deny("s3:DeleteObjectVersion", "")
			defer undo()
			lie := lies(s)["no echo"]
			s.fault(wire.Fault{Op: "PutObject", Kind: wire.EditHeader, Edit: lie})
			_, err := s.put(b, "new", "text", Condition{IfAbsent: true})
			wantKind(t, err, Unverified)
			if bucket == "enabled" {
				wantText(t, err, "still there")
			}
			s.box.Faults.Clear()
			if got := s.text(b, "new"); got != "absent" {
				t.Errorf("the new object shows %q", got)
			}
			old := s.mustPut(b, "old", "old")
			s.fault(wire.Fault{Op: "PutObject", Times: 1, Kind: wire.EditHeader, Edit: lie})
			if _, err := s.put(b, "old", "text", Condition{IfMatch: old.ETag}); err != nil {
				t.Fatalf("one lie: %v", err)
			}
			if warned := strings.Join(b.Warnings(), "\n"); bucket == "enabled" && !strings.Contains(warned, "s3:DeleteObjectVersion") {
				t.Errorf("warnings are %q", warned)
			}
			s.fault(wire.Fault{Op: "PutObject", Kind: wire.EditHeader, Edit: lie})
			_, err = s.put(b, "old", "more", Condition{})
			wantKind(t, err, Unverified)
			s.box.Faults.Clear()
			if got := s.text(b, "old"); got != "more" {
				t.Errorf("the last content shows %q", got)
			}
			if ro, _ := b.ReadOnly(); !ro {
				t.Error("the bucket is still writable")
			}
		})
	}
}

// TestRemovesOnlyItsOwn lets somebody else replace the wrongly encrypted
// object before it is removed.
func TestRemovesOnlyItsOwn(t *testing.T) {
	s := newStage(t)
	for bucket := range buckets() {
		for _, honoured := range []bool{true, false} {
			b := s.mount(func(o *Options) { o.Bucket = bucket })
			b.caps.DeleteIfMatch = honoured
			bad := s.mustPut(b, "a", "bad")
			theirs := s.mustPut(b, "a", "theirs")
			if err := b.remove(s.ctx, bad, "their commit is another"); err != nil {
				t.Errorf("%s: %v", bucket, err)
			}
			if got := s.text(b, "a"); got != "theirs" {
				t.Errorf("%s: their object became %q", bucket, got)
			}
			if err := b.Delete(s.ctx, theirs); err != nil {
				t.Error(err)
			}
		}
	}
}
