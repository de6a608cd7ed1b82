package s3io

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// lost are the ways in which an answer does not arrive, in both forms: the
// request was applied, or it was not.
func lost(op string) map[string]wire.Fault {
	return map[string]wire.Fault{
		"reset before":         {Op: op, Times: 1, Kind: wire.ResetBefore},
		"reset after":          {Op: op, Times: 1, Kind: wire.ResetAfter},
		"500 before":           {Op: op, Times: 1, Kind: wire.Answer},
		"500 after":            {Op: op, Times: 1, Kind: wire.AnswerAfter},
		"SlowDown before":      {Op: op, Times: 2, Kind: wire.Answer, Status: 503, Code: "SlowDown"},
		"SlowDown after":       {Op: op, Times: 1, Kind: wire.AnswerAfter, Status: 503, Code: "SlowDown"},
		"error in a success":   {Op: op, Times: 1, Kind: wire.Answer, Status: 200, Code: "InternalError"},
		"applied, error in it": {Op: op, Times: 1, Kind: wire.AnswerAfter, Status: 200, Code: "InternalError"},
		"answer cut":           {Op: op, Times: 1, Kind: wire.CutBody, Cut: 10},
	}
}

// ways of creating the object "new", with a base to copy from.
func ways(s *stage, b *Bucket, src Object) map[string]func(Condition) (Object, error) {
	return map[string]func(Condition) (Object, error){
		"PutObject": func(c Condition) (Object, error) { return s.put(b, "new", "text", c) },
		"CopyObject": func(c Condition) (Object, error) {
			return b.Copy(s.ctx, src, "new", Attrs{Meta: src.Meta}, c)
		},
		"CompleteMultipartUpload": func(c Condition) (Object, error) {
			u, parts := s.upload(b, "new", "text", Attrs{})
			o, err := b.completeUpload(s.ctx, u, parts, 4, c)
			return o, errors.Join(err, b.abortUpload(s.ctx, u))
		},
	}
}

// TestLostAnswers creates and replaces under every condition while answers get
// lost: the outcome must be exactly one version, and never a conflict.
func TestLostAnswers(t *testing.T) {
	s := newStage(t)
	b := s.mount(func(o *Options) { o.Bucket, o.Prefix = "enabled", "" })
	src := s.mustPut(b, "src", "text")
	for op, way := range ways(s, b, src) {
		for name, fault := range lost(op) {
			t.Run(op+"/"+name, func(t *testing.T) {
				rule := s.fault(fault)
				o, err := way(Condition{IfAbsent: true})
				if err != nil || rule.Hits() == 0 {
					t.Fatalf("create: %v, %d hits", err, rule.Hits())
				}
				s.box.Faults.Clear()
				rule = s.fault(fault)
				next, err := way(Condition{IfMatch: o.ETag})
				if err != nil || rule.Hits() == 0 {
					t.Fatalf("replace: %v, %d hits", err, rule.Hits())
				}
				s.box.Faults.Clear()
				if got := s.content(b, next); got != "text" {
					t.Errorf("content is %q", got)
				}
				if left := strings.Join(s.remains(b), ", "); left != "version new, version new, version src" {
					t.Errorf("the bucket holds %s", left)
				}
				for _, o := range []Object{next, o} {
					if err := b.DeleteVersion(s.ctx, o.Key, o.VersionID); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// TestForeignObjectWins makes sure that somebody else's object is never taken
// for ours, also after an answer was lost.
func TestForeignObjectWins(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	src := s.mustPut(b, "src", "text")
	for op, way := range ways(s, b, src) {
		for _, fault := range []wire.Fault{{Op: "none"}, {Op: op, Times: 1, Kind: wire.ResetBefore}, {Op: op, Times: 1, Kind: wire.Answer, Status: 500}} {
			t.Run(fmt.Sprint(op, fault.Kind), func(t *testing.T) {
				theirs := s.mustPut(b, "new", "theirs")
				s.fault(fault)
				_, err := way(Condition{IfAbsent: true})
				wantKind(t, err, Exists)
				s.box.Faults.Clear()
				s.fault(fault)
				_, err = way(Condition{IfMatch: src.ETag})
				wantKind(t, err, Stale)
				s.box.Faults.Clear()
				if got := s.text(b, "new"); got != "theirs" {
					t.Errorf("their object became %q", got)
				}
				if err := b.Delete(s.ctx, theirs); err != nil {
					t.Fatal(err)
				}
				_, err = way(Condition{IfMatch: theirs.ETag})
				wantKind(t, err, Stale)
			})
		}
	}
}

// TestConflictIsResent answers 409, which S3 does when two conditional
// requests meet: it says nothing about the object.
func TestConflictIsResent(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	src := s.mustPut(b, "src", "text")
	for op, way := range ways(s, b, src) {
		s.fault(wire.Fault{Op: op, Times: 1, Kind: wire.Answer, Status: http.StatusConflict, Code: "ConditionalRequestConflict"})
		_, err := way(Condition{IfAbsent: true})
		if op == "CompleteMultipartUpload" {
			wantKind(t, err, Stale) // S3 wants the whole upload again
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", op, err)
		}
		if err := b.Delete(s.ctx, Object{Key: "new"}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRefusalIsNotRepeated sends what is refused for good only once.
func TestRefusalIsNotRepeated(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	for code, kind := range map[string]Kind{"AccessDenied": Permission, "KMS.DisabledException": KeyDisabled, "EntityTooLarge": TooLarge, "BadDigest": Integrity} {
		s.box.Log.Reset()
		s.fault(wire.Fault{Op: "PutObject", Kind: wire.Answer, Status: 400, Code: code})
		_, err := s.put(b, "new", "text", Condition{IfAbsent: true})
		wantKind(t, err, kind)
		if n := s.box.Log.Count("PutObject"); n != 1 {
			t.Errorf("%s: %d requests", code, n)
		}
		s.box.Faults.Clear()
	}
}

// TestDeadline ends with Timeout what hangs or fails for ever, and says what
// the last attempt came to.
func TestDeadline(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	b.lookup, b.commit = time.Second/2, time.Second/2
	for name, fault := range map[string]wire.Fault{"hang": {Kind: wire.Hang}, "503": {Kind: wire.Answer, Status: 503, Code: "SlowDown"}, "reset": {Kind: wire.ResetBefore}} {
		fault.Key = "pre/new"
		s.fault(fault)
		_, err := s.put(b, "new", "text", Condition{})
		wantKind(t, err, Timeout)
		_, err = b.Head(s.ctx, "new")
		wantKind(t, err, Timeout)
		if name == "503" {
			wantText(t, err, "503")
		}
		s.box.Faults.Clear()
	}
}

// TestStalledAttemptIsRepeated hangs one request: the next attempt heals it.
func TestStalledAttemptIsRepeated(t *testing.T) {
	s := newStage(t)
	b := s.open(func(o *Options) { o.LookupTimeout, o.CommitTimeout = 3*time.Second, 5*time.Second })
	if _, err := b.Probe(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.mustPut(b, "a", "text")
	for _, op := range []string{"HeadObject", "GetObject", "PutObject"} {
		rule := s.fault(wire.Fault{Op: op, Times: 1, Kind: wire.Hang})
		if _, err := s.put(b, "a", "text", Condition{}); err != nil {
			t.Errorf("put while %s hangs: %v", op, err)
		}
		if got := s.text(b, "a"); got != "text" || rule.Hits() != 1 {
			t.Errorf("%s: got %q, %d hits", op, got, rule.Hits())
		}
		s.box.Faults.Clear()
	}
}

// TestInterrupts does not tear what has begun, and ends what only looks.
func TestInterrupts(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	ctx, cancel := context.WithCancel(s.ctx)
	rule := s.fault(wire.Fault{Op: "PutObject", Key: "pre/a", Kind: wire.Hang})
	done := make(chan error)
	go func() {
		_, err := b.Put(ctx, "a", strings.NewReader("text"), 4, Attrs{}, Condition{IfAbsent: true})
		done <- err
	}()
	s.box.Log.Reset()
	if err := s.box.Log.Wait(s.ctx, "PutObject", 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	rule.Release()
	if err := <-done; err != nil {
		t.Errorf("an interrupt tore Put: %v", err)
	}
	if got := s.text(b, "a"); got != "text" {
		t.Errorf("got %q", got)
	}
	_, err := b.Put(ctx, "b", strings.NewReader(""), 0, Attrs{}, Condition{})
	wantKind(t, err, Interrupted)
	_, err = b.Head(ctx, "a")
	wantKind(t, err, Interrupted)
	_, err = b.List(ctx, ListQuery{})
	wantKind(t, err, Interrupted)
}
