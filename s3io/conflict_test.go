package s3io

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// names lists the keys that begin with prefix.
func (s *stage) names(b *Bucket, prefix string) []string {
	s.t.Helper()
	page, err := b.List(s.ctx, ListQuery{Prefix: prefix})
	if err != nil {
		s.t.Fatal(err)
	}
	var keys []string
	for _, o := range page.Objects {
		keys = append(keys, o.Key)
	}
	return keys
}

// over puts text under key as a commit does: again, as long as reconcile says so.
func (s *stage) over(b *Bucket, key, text string, c Condition) (Object, error) {
	for {
		o, err := s.put(b, key, text, c)
		if err == nil {
			return o, nil
		}
		if c, err = b.reconcile(s.ctx, key, c, err); err != nil {
			return Object{}, err
		}
	}
}

// keeping is the policy of most tests below.
func keeping(o *Options) { o.OnConflict, o.Host = ConflictKeep, "höst_1.example" }

// keepers are buckets of every form of storage.
func keepers(s *stage) map[string]*Bucket {
	return map[string]*Bucket{
		"sse":    s.mount(keeping),
		"sealed": s.vault(keeping),
		"object": s.vault(func(o *Options) { keeping(o); o.Envelope.Scope = crypto.ScopeObject }),
	}
}

func TestConflictKeepsBoth(t *testing.T) {
	s := newStage(t)
	shape := regexp.MustCompile(`^dir/a\.conflict-h-st-1\.example-\d{8}T\d{6}Z(-2)?$`)
	for name, b := range keepers(s) {
		t.Run(name, func(t *testing.T) {
			defer s.clear(b)
			first := s.mustPut(b, "dir/a", "first")
			s.mustPut(b, "dir/a", "theirs")
			ours, err := s.over(b, "dir/a", "ours", Condition{IfMatch: first.ETag})
			if err != nil || s.text(b, "dir/a") != "ours" {
				t.Fatalf("ours is %q, %v", s.text(b, "dir/a"), err)
			}
			if _, err := s.over(b, "dir/a", "again", Condition{IfAbsent: true}); err != nil {
				t.Fatal(err)
			}
			kept := s.names(b, "dir/a.")
			if len(kept) != 2 || !shape.MatchString(kept[0]) || !shape.MatchString(kept[1]) {
				t.Fatalf("kept are %q", kept)
			}
			texts := []string{s.text(b, kept[0]), s.text(b, kept[1])}
			if slices.Sort(texts); !slices.Equal(texts, []string{"ours", "theirs"}) {
				t.Errorf("kept are %q", texts)
			}
			if o, err := b.Head(s.ctx, kept[0]); err != nil || o.Meta["mode"] != "33188" {
				t.Errorf("kept without its attributes: %+v, %v", o.Meta, err)
			}
			if n := b.Stats().Conflicts; n != 2 {
				t.Errorf("%d conflicts were counted", n)
			}
			if err := b.Delete(s.ctx, Object{Key: "dir/a"}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.over(b, "dir/a", "back", Condition{IfMatch: ours.ETag}); err != nil || s.text(b, "dir/a") != "back" || len(s.names(b, "")) != 3 {
				t.Errorf("what somebody deleted: %v, %q", err, s.names(b, ""))
			}
		})
	}
}

func TestConflictPolicies(t *testing.T) {
	s := newStage(t)
	cause := &Error{Kind: Stale, Op: opPut, Key: "a"}
	overwriting := s.mount(func(o *Options) { o.OnConflict = ConflictOverwrite })
	failing, keeper := s.mount(nil), s.mount(keeping)
	old := s.mustPut(failing, "a", "old")
	now := s.mustPut(failing, "a", "theirs")
	s.fault(wire.Fault{Op: "CompleteMultipartUpload", Times: 1, Kind: wire.Answer, Status: http.StatusConflict, Code: "ConditionalRequestConflict"})
	u, parts := s.upload(failing, "a", "ours", Attrs{})
	_, met := failing.completeUpload(s.ctx, u, parts, 4, Condition{IfMatch: now.ETag})
	for _, test := range []struct {
		name  string
		b     *Bucket
		key   string
		cond  Condition
		cause error
		want  Condition // zero: the cause
	}{
		{"fail", failing, "a", Condition{IfMatch: old.ETag}, cause, Condition{}},
		{"fail, gone", failing, "b", Condition{IfMatch: old.ETag}, cause, Condition{}},
		{"overwrite", overwriting, "a", Condition{IfMatch: old.ETag}, cause, Condition{IfMatch: now.ETag}},
		{"overwrite, made", overwriting, "a", Condition{IfAbsent: true}, &Error{Kind: Exists}, Condition{IfMatch: now.ETag}},
		{"overwrite, gone", overwriting, "b", Condition{IfMatch: old.ETag}, cause, Condition{IfAbsent: true}},
		{"exact", keeper, "a", Condition{IfAbsent: true, Exact: true}, &Error{Kind: Exists}, Condition{}},
		{"source changed", keeper, "a", Condition{IfMatch: now.ETag}, cause, Condition{}},
		{"source changed, absent", keeper, "b", Condition{IfAbsent: true}, cause, Condition{}},
		{"made and gone again", keeper, "b", Condition{IfAbsent: true}, &Error{Kind: Exists}, Condition{IfAbsent: true}},
		{"two requests met", failing, "a", Condition{IfMatch: now.ETag}, met, Condition{IfMatch: now.ETag}},
		{"marker", keeper, "dir/", Condition{IfMatch: old.ETag}, cause, Condition{}},
	} {
		got, err := test.b.reconcile(s.ctx, test.key, test.cond, test.cause)
		if got != test.want || (err != nil) != (test.want == Condition{}) || err != nil && err != test.cause {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
	if left := s.names(failing, ""); !slices.Equal(left, []string{"a"}) {
		t.Errorf("left are %q", left)
	}
}

// TestConflictCopyAnswersGetLost: a lost answer neither loses nor duplicates
// what is kept, nor what is sent again after that.
func TestConflictCopyAnswersGetLost(t *testing.T) {
	s := newStage(t)
	b := s.mount(keeping)
	for _, op := range []string{"CopyObject", "CompleteMultipartUpload"} {
		for name, fault := range lost(op) {
			t.Run(op+"/"+name, func(t *testing.T) {
				defer s.clear(b)
				s.mustPut(b, "a", "theirs")
				u, parts := s.upload(b, "a", "ours", Attrs{})
				_, err := b.completeUpload(s.ctx, u, parts, 4, Condition{IfAbsent: true})
				wantKind(t, err, Exists)
				rule := s.fault(fault)
				defer s.box.Faults.Clear()
				cond, err := b.reconcile(s.ctx, "a", Condition{IfAbsent: true}, err)
				if err == nil { // after 412 the upload lives on
					_, err = b.completeUpload(s.ctx, u, parts, 4, cond)
				}
				if err != nil || rule.Hits() == 0 || s.text(b, "a") != "ours" {
					t.Fatalf("%v, %d hits, %q", err, rule.Hits(), s.text(b, "a"))
				}
				if kept := s.names(b, "a."); len(kept) != 1 || s.text(b, kept[0]) != "theirs" {
					t.Errorf("kept are %q", kept)
				}
			})
		}
	}
}

// TestConflictCannotBeKept: nothing is lost where theirs cannot be copied.
func TestConflictCannotBeKept(t *testing.T) {
	s := newStage(t)
	for name, b := range map[string]*Bucket{"foreign": s.vault(keeping), "refused": s.mount(keeping)} {
		t.Run(name, func(t *testing.T) {
			s.plant(b, "a", []byte("theirs"), nil)
			if name == "refused" {
				s.fault(wire.Fault{Op: "CopyObject", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
			}
			defer s.box.Faults.Clear()
			_, err := s.over(b, "a", "ours", Condition{IfAbsent: true})
			wantKind(t, err, Stale)
			wantText(t, err, "could not be kept", "--on-conflict overwrite")
			if got := s.names(b, ""); !slices.Equal(got, []string{"a"}) {
				t.Errorf("left are %q", got)
			}
		})
	}
}

func TestConflictKeys(t *testing.T) {
	b := &Bucket{opts: Options{Prefix: "pre/"}}
	const ending = ".conflict-h-20261123T170405Z"
	for _, name := range []string{"a", strings.Repeat("a", 255), strings.Repeat("é", 127), strings.Repeat("aé漢😀", 25), strings.Repeat("‛C3", 51), "x" + strings.Repeat("‛FF", 80)} {
		for _, dir := range []string{"", "d/e/", strings.Repeat("d/", 480)} {
			key, err := b.conflictKey(dir+name, ending)
			if err != nil {
				t.Fatal(err)
			}
			base := strings.TrimSuffix(strings.TrimPrefix(key, dir), ending)
			if !strings.HasPrefix(name, base) || base == "" || len(base+ending) > 255 || len("pre/"+key) > maxKey || !utf8.ValidString(key) {
				t.Errorf("%q became %q", name, base)
			}
			if i := strings.LastIndex(base, "‛"); i >= 0 && len(base)-i < len("‛FF") {
				t.Errorf("%q is cut inside of a mark", base)
			}
		}
	}
	_, err := b.conflictKey(strings.Repeat("d/", 500)+"a", ending)
	wantKind(t, err, NameTooLong)
	if host := b.host(); host == "" || !regexp.MustCompile(`^[A-Za-z0-9.-]+$`).MatchString(host) {
		t.Errorf("host is %q", host)
	}
}
