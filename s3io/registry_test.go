package s3io

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// TestRewrapRegistry reads an object whose key is gone by what the registry
// says, and believes nothing in it that an accepted key does not prove.
func TestRewrapRegistry(t *testing.T) {
	s := newStage(t)
	old := s.vault(nil)
	plain := noise(1000)
	o := s.plantSealed(old, "a", plain)
	h, err := old.HeaderOf(s.ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	to := s.box.KMS.KeyARN(sandbox.OtherAlias)
	tool := s.vault(func(o *Options) { o.Envelope.KeyIDs = []string{sandbox.KeyAlias, sandbox.OtherAlias} })
	entry, ok, err := tool.Keyring().Rewrap(s.ctx, h, tool.full("a"), to)
	if err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	reader := func() *Bucket {
		return s.vault(func(o *Options) { o.ReadOnly, o.Envelope.KeyIDs = true, []string{sandbox.OtherAlias} })
	}
	_, err = s.readAll(reader(), o)
	wantKind(t, err, KeyRejected)
	for i, fresh := range []bool{true, false} {
		if added, err := tool.PutRewrap(s.ctx, entry); err != nil || added != fresh {
			t.Errorf("put %d: %v, %v", i, added, err)
		}
	}
	b := reader()
	s.box.Log.Reset()
	for range 3 {
		if got, err := s.readAll(b, o); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	lookups := 0
	for _, r := range s.box.Log.Requests() {
		if strings.Contains(r.Key, rewrapDir) {
			lookups++
		}
	}
	if lookups != 1 {
		t.Errorf("the registry was read %d times", lookups)
	}
	_, foreign := s.seal(s.vault(func(o *Options) { o.Envelope.KeyIDs = []string{sandbox.OtherAlias} }), "a", nil, false)
	for _, text := range []string{
		"", strings.Repeat(" ", 20<<10),
		string(crypto.EncodeRewrap(crypto.EDK{Info: to, Blob: foreign.EDKs[0].Blob})),
		string(crypto.EncodeRewrap(crypto.EDK{Info: strings.Replace(to, sandbox.Account, "999999999999", 1), Blob: []byte("x")})),
		"{",
	} {
		s.plant(tool, rewrapDir+entry.Name(), []byte(text), nil)
		if _, err := s.readAll(reader(), o); KindOf(err) != KeyRejected && KindOf(err) != Integrity {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if added, err := tool.PutRewrap(s.ctx, entry); err != nil || !added {
		t.Errorf("put over what is none: %v, %v", added, err)
	}
	if got, err := s.readAll(reader(), o); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
