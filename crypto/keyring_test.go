package crypto

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/kms"
)

func TestKeyringServesManyObjectsWithOneDataKey(t *testing.T) {
	b := newBench(t)
	k := b.keyring(nil)
	if err := k.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	const files = 10_000
	headers := make([]*Header, files)
	ids := map[MessageID]bool{}
	for i := range headers {
		headers[i] = b.seal(k, "key")
		ids[headers[i].ID] = true
	}
	if len(ids) != files {
		t.Errorf("%d message IDs for %d messages", len(ids), files)
	}
	for _, h := range headers {
		b.open(k, h, "key")
	}
	b.calls(1, 1) // those of Check
	if s := k.Stats(); s.Sealed != files || s.Opened != files || s.Saved != 2*files-2 || s.Failed != 0 || s.Calls[opDecrypt] != 1 {
		t.Errorf("statistics are %+v", s)
	}

	b.cache = &mapCache{keys: map[[32]byte]*DataKey{}}
	cold := b.keyring(nil)
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for g := range 64 {
		wg.Go(func() {
			<-gate
			for i := g; i < files; i += 64 {
				if _, err := cold.Open(t.Context(), headers[i], "key"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	close(gate)
	wg.Wait()
	b.calls(1, 2)
}

func TestCheckOfEveryKind(t *testing.T) {
	cases := map[string]struct {
		edit              func(*KeyringOptions)
		generate, decrypt int // after Check and one Seal
	}{
		"bucket key":     {func(*KeyringOptions) {}, 1, 1},
		"write-only":     {func(o *KeyringOptions) { o.WriteOnly = true }, 1, 0},
		"key per object": {func(o *KeyringOptions) { o.KeyPerObject = true }, 2, 1},
		"object scope":   {func(o *KeyringOptions) { o.Scope = ScopeObject }, 2, 1},
		"no cache":       {func(o *KeyringOptions) { o.Cache = nil }, 1, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			k := b.keyring(c.edit)
			if err := k.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.seal(k, "key")
			b.calls(c.generate, c.decrypt)
		})
	}
	b := newBench(t)
	if err := b.keyring(func(o *KeyringOptions) { o.Keys = nil }).Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := b.keyring(func(o *KeyringOptions) { o.Context = map[string]string{"a": string(make([]byte, 700))} }).Check(t.Context()); err == nil {
		t.Error("a header without room for its context was accepted")
	}
}

func TestCheckNamesWhatIsMissing(t *testing.T) {
	for _, op := range []string{opGenerate, opDecrypt} {
		b := newBench(t)
		k := b.keyring(nil)
		b.Denials.Deny("kms:"+op, b.key.ARN)
		err := k.Check(t.Context())
		wantKeyError(t, err, Denied, "kms:"+op)
		wantKeyError(t, err, Denied, b.key.ARN)
		wantKeyError(t, err, Denied, sandbox.UserARN)
	}
}

func TestNewKeyringRefusesWhatCannotWork(t *testing.T) {
	cases := map[string]KeyringOptions{
		"no bucket":        {},
		"negative TTL":     {Bucket: testBucket, TTL: -1},
		"alias":            {Bucket: testBucket, Keys: []Key{{ARN: "arn:aws:kms:us-east-1:111122223333:alias/x"}}},
		"key id":           {Bucket: testBucket, Allowed: []string{testID}},
		"reserved pair":    {Bucket: testBucket, Context: map[string]string{"aws:s3:arn": "x"}},
		"reserved prefix":  {Bucket: testBucket, Context: map[string]string{"aws-crypto-public-key": "x"}},
		"pair of no name":  {Bucket: testBucket, Context: map[string]string{"": "x"}},
		"any key, unbound": {AnyKey: true},
	}
	for name, o := range cases {
		if k, err := NewKeyring(nil, o); err == nil {
			k.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestEveryRequestCarriesGrants(t *testing.T) {
	b := newBench(t)
	second, third := b.create(kms.KeyOptions{}), b.create(kms.KeyOptions{})
	grant, err := b.client(sandbox.Region).(*awskms.Client).CreateGrant(t.Context(), &awskms.CreateGrantInput{
		KeyId: &b.key.ARN, GranteePrincipal: aws.String(sandbox.UserARN), Operations: []types.GrantOperation{types.GrantOperationDecrypt}})
	if err != nil {
		t.Fatal(err)
	}
	b.grants = nil
	tokens := []string{*grant.GrantToken}
	k := b.keyring(func(o *KeyringOptions) { o.Keys, o.GrantTokens = []Key{b.key, second}, tokens })
	if err := k.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := k.Rewrap(t.Context(), b.seal(k, "key"), "key", third.ARN); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, err := ResolveKey(t.Context(), b.client(sandbox.Region), b.key.ARN, "", tokens...); err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{opGenerate, opEncrypt, opDecrypt, opReEncrypt, "DescribeKey"} {
		if b.Log.Count(op) != 1 {
			t.Errorf("%d requests for %s", b.Log.Count(op), op)
		}
	}
	for _, sent := range b.grants {
		if !slices.Equal(sent, tokens) {
			t.Errorf("a request had the tokens %q", sent)
		}
	}
}

// TestIdleWriteKeyIsWiped without anybody who seals or opens.
func TestIdleWriteKeyIsWiped(t *testing.T) {
	b := newBench(t)
	k := b.keyring(func(o *KeyringOptions) { o.TTL, o.Grace, o.Cache = time.Millisecond, -1, nil })
	if err := k.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); k.write.Load() != nil; runtime.Gosched() {
		if time.Since(begin) > 10*time.Second {
			t.Fatal("it stays in memory")
		}
	}
}

func TestCloseEndsAndWipesAll(t *testing.T) {
	b := newBench(t)
	k := b.keyring(nil)
	h := b.seal(k, "key")
	key := k.write.Load().key
	k.Close()
	if key.Acquire() || b.cache.size() != 0 || len(k.vault.pages) != 0 {
		t.Errorf("after Close %d keys and %d pages are left", b.cache.size(), len(k.vault.pages))
	}
	if _, err := k.Seal(t.Context(), "key"); !errors.Is(err, errKeyringClosed) {
		t.Errorf("Seal after Close: %v", err)
	}
	if _, err := k.Open(t.Context(), h, "key"); !errors.Is(err, errKeyringClosed) {
		t.Errorf("Open after Close: %v", err)
	}
	if _, _, err := k.Rewrap(t.Context(), h, "key", b.key.ARN); !errors.Is(err, errKeyringClosed) {
		t.Errorf("Rewrap after Close: %v", err)
	}
	if err := k.Check(t.Context()); !errors.Is(err, errKeyringClosed) {
		t.Errorf("Check after Close: %v", err)
	}
	k.Close()
}
