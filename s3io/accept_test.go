package s3io

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox"
)

func TestDoubt(t *testing.T) {
	const own, old, other = "arn:aws:kms:us-east-1:1:key/own", "arn:aws:kms:us-east-1:1:key/old", "arn:aws:kms:us-east-1:2:key/own"
	kms := func(key string) Encryption { return Encryption{Algorithm: ModeKMS, KeyID: key} }
	s3s, none := Encryption{Algorithm: ModeS3}, Encryption{}
	pinned := expectation{algorithm: ModeKMS, key: own}
	plain, sealed, both := Policy{Mode: ModeKMS}, Policy{Mode: ModeBucketDefault, enveloped: true}, Policy{Mode: ModeKMS, enveloped: true}
	for _, r := range []struct {
		name   string
		policy Policy
		want   expectation
		got    Encryption
		good   bool
	}{
		{"own key", plain, pinned, kms(own), true},
		{"own key in two layers", plain, pinned, Encryption{Algorithm: ModeDSSE, KeyID: own}, true},
		{"allowed key", plain, pinned, kms(old), true},
		{"allowed key of another server", plain, pinned, kms("arn:aws:kms:minio-key"), true},
		{"unknown key", plain, pinned, kms(other), false},
		{"no key named", plain, pinned, kms(""), false},
		{"SSE-S3", plain, pinned, s3s, false},
		{"silence", plain, pinned, none, false},
		{"own key not known", plain, expectation{algorithm: ModeKMS}, kms(own), false},
		{"own key not known, allowed", plain, expectation{algorithm: ModeKMS}, kms(old), true},
		{"shortened form", plain, expectation{algorithm: ModeKMS, key: "k", loose: true}, kms("arn:aws:kms:k"), true},
		{"allowed key, shortened form", plain, expectation{algorithm: ModeKMS, key: "k", loose: true}, kms(old[strings.LastIndex(old, "/")+1:]), true},
		{"SSE-S3 wanted", Policy{Mode: ModeS3}, expectation{algorithm: ModeS3}, s3s, true},
		{"SSE-S3 wanted, a key", Policy{Mode: ModeS3}, expectation{algorithm: ModeS3}, kms(other), true},
		{"SSE-S3 wanted, silence", Policy{Mode: ModeS3}, expectation{algorithm: ModeS3}, none, false},
		{"sealed", sealed, pinned, none, true},
		{"sealed without proofs", sealed, expectation{none: true}, kms(other), true},
		{"both", both, pinned, kms(own), true},
		{"both, SSE-S3", both, pinned, s3s, false},
	} {
		b := &Bucket{policy: r.policy, expect: r.want, allowed: []string{old, "minio-key"}}
		if why := b.doubt(r.got); (why == "") != r.good {
			t.Errorf("%s: %q, want good %v", r.name, why, r.good)
		}
		b.opts.Require = RequireOff
		if why := b.doubt(r.got); why != "" {
			t.Errorf("%s, not required: %q", r.name, why)
		}
	}
}

// TestReadingPolicy reads objects that other programs stored. It costs no
// request besides the GET that there is in any case.
func TestReadingPolicy(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	other := s.box.KMS.KeyARN(sandbox.OtherAlias)
	weak := s.mustPut(s.mount(func(o *Options) { o.Policy = Policy{Mode: ModeS3} }), "weak", "weak")
	foreign := s.mustPut(s.mount(func(o *Options) { o.Policy = Policy{KeyID: other} }), "foreign", "foreign")
	own := s.mustPut(b, "own", "own")
	read := func(b *Bucket, o Object) (string, error) {
		s.box.Log.Reset()
		p := make([]byte, 2)
		r := b.NewReader(o)
		defer r.Close()
		n, err := r.ReadAt(s.ctx, p, 1)
		if gets, all := s.box.Log.Count("GetObject"), len(s.box.Log.Requests()); err == nil && (gets != 1 || all != 1) {
			t.Errorf("reading %s took %d GETs and %d requests", o.Key, gets, all)
		}
		return string(p[:n]), err
	}
	var log lines
	b.log = slog.New(slog.NewTextHandler(&log, nil))
	readers := map[string]*Bucket{
		"off":     s.open(func(o *Options) { o.Require = RequireOff }),
		"warn":    s.open(func(o *Options) { o.Require, o.Log = RequireWarn, b.log }),
		"allowed": s.open(func(o *Options) { o.AllowKeyIDs = []string{sandbox.OtherAlias} }),
		"enforce": b,
	}
	for name, r := range readers {
		for _, o := range []Object{weak, foreign, own, weak} {
			head, err := r.Head(s.ctx, o.Key)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := read(r, o)
			refused := name == "enforce" && o.Key != "own" || name == "allowed" && o.Key == "weak"
			if open := r.Readable(s.ctx, head); (open != nil) != refused {
				t.Errorf("%s: to open %s: %v", name, o.Key, open)
			}
			if !refused {
				if err != nil || got != o.Key[1:3] {
					t.Errorf("%s: %s is %q, %v", name, o.Key, got, err)
				}
				continue
			}
			wantKind(t, err, KeyRejected)
			wantText(t, err, "--require-encryption warn")
			if o.Key == "foreign" {
				wantText(t, err, "--allow-key-id "+other)
			}
		}
	}
	if n := log.count("is read"); n != 2 {
		t.Errorf("%d warnings of two objects:\n%s", n, log.String())
	}
	moved, err := b.Copy(s.ctx, weak, "moved", Attrs{}, Condition{})
	if err != nil || s.content(b, moved) != "weak" || log.count("comes under the mount's policy") != 1 {
		t.Errorf("the copy: %v\n%s", err, log.String())
	}
}

// TestAllowedKeysMustBeKnown refuses what no answer could be compared with.
func TestAllowedKeysMustBeKnown(t *testing.T) {
	s := newStage(t)
	o := s.options()
	o.AllowKeyIDs = []string{"alias/absent"}
	_, err := Open(s.ctx, o)
	wantKind(t, err, KeyNotFound)
	defer s.box.Denials.Deny("kms:DescribeKey", "")()
	o.AllowKeyIDs = []string{sandbox.OtherAlias}
	_, err = Open(s.ctx, o)
	wantKind(t, err, Misconfigured)
	wantText(t, err, "--allow-key-id", "ARN")
}

// TestSealedContentUnderAnotherKeyOfS3 is refused only where S3's encryption
// was asked for by name.
func TestSealedContentUnderAnotherKeyOfS3(t *testing.T) {
	s := newStage(t)
	o := s.plantSealed(s.vault(nil), "a", []byte("text"))
	if got, err := s.readAll(s.vault(nil), o); err != nil || string(got) != "text" {
		t.Errorf("%q, %v", got, err)
	}
	_, err := s.readAll(s.vault(func(o *Options) { o.Policy = Policy{KeyID: sandbox.OtherAlias} }), o)
	wantKind(t, err, KeyRejected)
	wantText(t, err, "AES256")
}

func TestNoticesEnd(t *testing.T) {
	var log lines
	var n notices
	for i := range 2 * maxNotices {
		n.add(slog.New(slog.NewTextHandler(&log, nil)), "read", fmt.Sprint("k", i/2), "why")
		n.add(slog.New(slog.NewTextHandler(&log, nil)), "read", fmt.Sprint("other", i/2), "why")
	}
	if got := strings.Count(log.String(), "\n"); got != maxNotices+1 {
		t.Errorf("%d lines, want %d and one that says so", got, maxNotices)
	}
}

// lines is a log that a test reads.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) count(text string) int { return strings.Count(l.String(), text) }
