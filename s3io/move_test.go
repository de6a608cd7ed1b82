package s3io

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// halfMoved has a process crash that moved a/ to b/, and returns the bucket as
// the next one opens it.
func (s *stage) halfMoved(versioned, over, complete bool) *Bucket {
	s.t.Helper()
	dir := s.t.TempDir()
	b := s.mount(func(o *Options) {
		o.StateDir, o.Prefix = dir, fmt.Sprint(versioned, over, complete, "/")
		if versioned {
			o.Bucket = "enabled"
		}
	})
	crashed, err := openJournal(dir, b.opts.Bucket, b.opts.Prefix)
	check(s.t, err)
	alive := b.journal
	b.journal = crashed
	m, err := b.BeginMove("a/", "b/", over)
	check(s.t, err)
	c := Condition{IfAbsent: true}
	if over {
		c = Condition{IfMatch: s.mustPut(b, "b/", "").ETag}
	}
	for i, key := range []string{"a/", "a/1", "a/2", "a/3", "a/4", "a/5", "a/6"} {
		o := s.mustPut(b, key, key[2:])
		if i > 0 {
			c = Condition{IfAbsent: true}
		}
		if i < 6 || complete {
			_, err := m.Copy(s.ctx, o, c)
			check(s.t, err)
		}
		if complete && i == 6 {
			check(s.t, m.Copied())
			check(s.t, b.Delete(s.ctx, o))
		}
	}
	s.mustPut(b, "b/theirs", "theirs")
	crashed.crash()
	b.journal = alive
	return b
}

func TestMovesAreSettledByTheNextProcess(t *testing.T) {
	s := newStage(t)
	for _, versioned := range []bool{false, true} {
		for _, c := range []struct {
			over, complete bool
			want           []string
		}{
			{false, false, []string{"a/", "a/1", "a/2", "a/3", "a/4", "a/5", "a/6", "b/theirs"}},
			{true, false, []string{"a/", "a/1", "a/2", "a/3", "a/4", "a/5", "a/6", "b/", "b/theirs"}},
			{false, true, []string{"b/", "b/1", "b/2", "b/3", "b/4", "b/5", "b/6", "b/theirs"}},
			{true, true, []string{"b/", "b/1", "b/2", "b/3", "b/4", "b/5", "b/6", "b/theirs"}},
		} {
			b := s.halfMoved(versioned, c.over, c.complete)
			// The first try ends in the middle, as if that process crashed, too.
			rule := s.fault(wire.Fault{Op: "DeleteObject", Skip: 2, Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
			if err := b.CleanUp(s.ctx); KindOf(err) != Permission {
				t.Errorf("settled without the right to: %v", err)
			}
			rule.Remove()
			check(t, b.CleanUp(s.ctx))
			var got []string
			check(t, b.each(s.ctx, "", func(o Object) { got = append(got, o.Key) }))
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("versioned %v, %+v: %s", versioned, c, d)
			}
			if left := b.journal.stale(); left != nil {
				t.Errorf("still in the journal: %v", left)
			}
		}
	}
}

func TestJournalKnowsHowFarMovesAre(t *testing.T) {
	dir := t.TempDir()
	j := mustJournal(t, dir)
	begun := entry{Move: "m1", From: "a/", To: "b/", Over: true}
	copied := entry{Move: "m2", From: "c/", To: "d/", Deleting: true}
	check(t, j.note(begun))
	check(t, j.note(entry{Move: "m2", From: "c/", To: "d/"}))
	check(t, j.note(entry{Move: "m3", From: "e/", To: "f/"}))
	check(t, j.note(copied))
	check(t, j.end("m3"))
	j.crash()
	next := mustJournal(t, dir)
	if d := cmp.Diff([]entry{begun, copied}, next.stale()); d != "" {
		t.Fatal(d)
	}
	// What was settled is not settled again because something else was not.
	check(t, next.close())
	last := mustJournal(t, dir)
	if err := last.eachStale(func(e entry) error {
		if e == begun {
			return fmt.Errorf("not this one")
		}
		return nil
	}); err == nil {
		t.Fatal("the failure is lost")
	}
	if d := cmp.Diff([]entry{begun}, last.stale()); d != "" {
		t.Fatal(d)
	}
}
