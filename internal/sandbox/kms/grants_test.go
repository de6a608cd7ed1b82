package kms

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// granting is a key of alice's account, and bob, of another one, who has no
// right to it but by grants.
type granting struct {
	*bench
	t          *testing.T
	ctx        context.Context
	now        time.Time
	key        string
	alice, bob *kms.Client
}

func newGranting(t *testing.T, o Options) *granting {
	g := &granting{t: t, ctx: testContext(t), now: time.Now()}
	o.Now = func() time.Time { return g.now }
	g.bench = newBench(t, o)
	g.endpoint.Verifier.Now = nil // requests are signed for today
	g.key = g.create(t, KeyOptions{})
	g.alice, g.bob = g.client(alice(), "us-east-1"), g.client(bob(), "us-east-1")
	return g
}

// grant lets bob do operations.
func (g *granting) grant(c *types.GrantConstraints, operations ...types.GrantOperation) *kms.CreateGrantOutput {
	g.t.Helper()
	out, err := g.alice.CreateGrant(g.ctx, &kms.CreateGrantInput{KeyId: &g.key, GranteePrincipal: aws.String(bob().ARN), Operations: operations, Constraints: c})
	if err != nil {
		g.t.Fatal(err)
	}
	return out
}

// encrypt has bob encrypt with tokens.
func (g *granting) encrypt(encryption map[string]string, tokens ...string) error {
	_, err := g.bob.Encrypt(g.ctx, &kms.EncryptInput{KeyId: &g.key, Plaintext: []byte("p"), EncryptionContext: encryption, GrantTokens: tokens})
	return err
}

const denied = "AccessDeniedException"

// TestGrantToken uses every operation of envelope encryption by a token alone.
func TestGrantToken(t *testing.T) {
	g := newGranting(t, Options{})
	expect(t, "no grant", g.encrypt(nil), denied, "")
	made := g.grant(nil, "Encrypt", "Decrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo", "DescribeKey")
	expect(t, "no token", g.encrypt(nil), denied, "")
	tokens := []string{*made.GrantToken}
	data, err := g.bob.GenerateDataKey(g.ctx, &kms.GenerateDataKeyInput{KeyId: &g.key, KeySpec: "AES_256", GrantTokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []*string{&g.key, nil} {
		opened, err := g.bob.Decrypt(g.ctx, &kms.DecryptInput{KeyId: id, CiphertextBlob: data.CiphertextBlob, GrantTokens: tokens})
		if err != nil || !bytes.Equal(opened.Plaintext, data.Plaintext) {
			t.Errorf("%v", err)
		}
	}
	again, err := g.bob.ReEncrypt(g.ctx, &kms.ReEncryptInput{CiphertextBlob: data.CiphertextBlob, SourceKeyId: &g.key, DestinationKeyId: &g.key, GrantTokens: tokens})
	if err != nil || *again.KeyId != g.key {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := g.bob.DescribeKey(g.ctx, &kms.DescribeKeyInput{KeyId: &g.key, GrantTokens: tokens}); err != nil {
		t.Error(err)
	}
	_, err = g.bob.GenerateDataKeyWithoutPlaintext(g.ctx, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: &g.key, KeySpec: "AES_256", GrantTokens: tokens})
	expect(t, "an operation that is not granted", err, denied, "")
	_, err = g.client(carol(), "us-east-1").Encrypt(g.ctx, &kms.EncryptInput{KeyId: &g.key, Plaintext: []byte("p"), GrantTokens: tokens})
	expect(t, "another principal", err, denied, "")
	expect(t, "no token at all", g.encrypt(nil, "x"), "InvalidGrantTokenException", "")
	expect(t, "too many", g.encrypt(nil, make([]string, 11)...), "ValidationException", "grantTokens")

	g.now = g.now.Add(5 * time.Minute)
	if err := g.encrypt(nil); err != nil {
		t.Errorf("after five minutes: %v", err)
	}
	undo := g.denials.Deny("kms:Encrypt", g.key)
	expect(t, "denied", g.encrypt(nil, tokens...), denied, "")
	undo()
	if err := g.Disable(g.key); err != nil {
		t.Fatal(err)
	}
	expect(t, "disabled", g.encrypt(nil, tokens...), "DisabledException", "")
}

func TestGrantConstraints(t *testing.T) {
	type pairs = map[string]string
	for name, c := range map[string]struct {
		constraints types.GrantConstraints
		context     pairs
		allowed     bool
	}{
		"subset met":         {types.GrantConstraints{EncryptionContextSubset: pairs{"a": "1"}}, pairs{"a": "1", "b": "2"}, true},
		"names have no case": {types.GrantConstraints{EncryptionContextSubset: pairs{"A": "1"}}, pairs{"a": "1"}, true},
		"subset missing":     {types.GrantConstraints{EncryptionContextSubset: pairs{"a": "1"}}, pairs{"b": "2"}, false},
		"subset other":       {types.GrantConstraints{EncryptionContextSubset: pairs{"a": "x"}}, pairs{"a": "X"}, false},
		"subset of none":     {types.GrantConstraints{EncryptionContextSubset: pairs{"a": "1"}}, nil, false},
		"equals met":         {types.GrantConstraints{EncryptionContextEquals: pairs{"a": "1", "b": "2"}}, pairs{"b": "2", "a": "1"}, true},
		"equals and more":    {types.GrantConstraints{EncryptionContextEquals: pairs{"a": "1"}}, pairs{"a": "1", "b": "2"}, false},
		"equals less":        {types.GrantConstraints{EncryptionContextEquals: pairs{"a": "1", "b": "2"}}, pairs{"a": "1"}, false},
		"both, one met":      {types.GrantConstraints{EncryptionContextEquals: pairs{"a": "1"}, EncryptionContextSubset: pairs{"b": "2"}}, pairs{"a": "1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGranting(t, Options{})
			token := *g.grant(&c.constraints, "Encrypt", "DescribeKey", "ReEncryptTo").GrantToken
			if err := g.encrypt(c.context, token); (err == nil) != c.allowed {
				t.Errorf("Encrypt: %v", err)
			}
			if _, err := g.bob.DescribeKey(g.ctx, &kms.DescribeKeyInput{KeyId: &g.key, GrantTokens: []string{token}}); err != nil {
				t.Errorf("DescribeKey has no context: %v", err)
			}
			theirs := g.create(t, KeyOptions{Account: another})
			made, err := g.bob.Encrypt(g.ctx, &kms.EncryptInput{KeyId: &theirs, Plaintext: []byte("p"), EncryptionContext: pairs{"z": "26"}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = g.bob.ReEncrypt(g.ctx, &kms.ReEncryptInput{CiphertextBlob: made.CiphertextBlob, SourceEncryptionContext: pairs{"z": "26"},
				DestinationKeyId: &g.key, DestinationEncryptionContext: c.context, GrantTokens: []string{token}})
			if (err == nil) != c.allowed {
				t.Errorf("ReEncrypt: %v", err)
			}
		})
	}
}

func TestGrantsAreManaged(t *testing.T) {
	dir := t.TempDir()
	g := newGranting(t, Options{GrantDelay: -1, Dir: dir})
	in := &kms.CreateGrantInput{KeyId: &g.key, GranteePrincipal: aws.String(bob().ARN), RetiringPrincipal: aws.String(bob().ARN), Name: aws.String("n"), Operations: []types.GrantOperation{"Encrypt"}}
	first, err := g.alice.CreateGrant(g.ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	same, err := g.alice.CreateGrant(g.ctx, in)
	if err != nil || *same.GrantId != *first.GrantId || *same.GrantToken == *first.GrantToken {
		t.Errorf("the same name and terms: %v", err)
	}
	other := g.grant(&types.GrantConstraints{EncryptionContextEquals: map[string]string{"a": "1"}}, "Decrypt", "RetireGrant")
	list := func(in kms.ListGrantsInput) []types.GrantListEntry {
		t.Helper()
		in.KeyId = &g.key
		out, err := g.alice.ListGrants(g.ctx, &in)
		if err != nil {
			t.Fatal(err)
		}
		return out.Grants
	}
	if n := len(list(kms.ListGrantsInput{})); n != 2 {
		t.Errorf("%d grants", n)
	}
	if got := list(kms.ListGrantsInput{GrantId: other.GrantId}); len(got) != 1 || got[0].Constraints.EncryptionContextEquals["a"] != "1" || *got[0].GranteePrincipal != bob().ARN || *got[0].KeyId != g.key {
		t.Errorf("%+v", got)
	}
	if n := len(list(kms.ListGrantsInput{GranteePrincipal: aws.String(alice().ARN)})); n != 0 {
		t.Errorf("%d grants of alice", n)
	}
	if restarted, err := New(Options{Dir: dir, Identities: g.opts.Identities}); err != nil || len(restarted.state.Grants) != 2 {
		t.Errorf("after a restart: %v", err)
	}
	if err := g.encrypt(nil); err != nil {
		t.Error(err)
	}
	if _, err := g.bob.RetireGrant(g.ctx, &kms.RetireGrantInput{GrantToken: first.GrantToken}); err != nil {
		t.Error(err)
	}
	expect(t, "retired", g.encrypt(nil, *first.GrantToken), denied, "")
	if _, err := g.bob.RetireGrant(g.ctx, &kms.RetireGrantInput{KeyId: &g.key, GrantId: other.GrantId}); err != nil {
		t.Error(err)
	}
	third := g.grant(nil, "Encrypt")
	_, err = g.bob.RetireGrant(g.ctx, &kms.RetireGrantInput{GrantToken: third.GrantToken})
	expect(t, "retire by one who may not", err, denied, "")
	if _, err := g.alice.RevokeGrant(g.ctx, &kms.RevokeGrantInput{KeyId: &g.key, GrantId: third.GrantId}); err != nil {
		t.Error(err)
	}
	_, err = g.alice.RevokeGrant(g.ctx, &kms.RevokeGrantInput{KeyId: &g.key, GrantId: third.GrantId})
	expect(t, "revoke again", err, "NotFoundException", "")
	_, err = g.bob.RetireGrant(g.ctx, &kms.RetireGrantInput{GrantToken: third.GrantToken})
	expect(t, "retire what was revoked", err, "NotFoundException", "")
}

func TestGrantsAreRefused(t *testing.T) {
	g := newGranting(t, Options{})
	rsa := g.create(t, KeyOptions{Spec: "RSA_2048"})
	bound := &types.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "1"}}
	for name, c := range map[string]struct {
		key        string
		grantee    string
		operations []types.GrantOperation
		bound      *types.GrantConstraints
		code       string
	}{
		"no principal":          {g.key, "bob", []types.GrantOperation{"Encrypt"}, nil, "InvalidArnException"},
		"unknown operation":     {g.key, bob().ARN, []types.GrantOperation{"Encrypt", "PutKeyPolicy"}, nil, "ValidationException"},
		"signing with a secret": {g.key, bob().ARN, []types.GrantOperation{"Sign"}, nil, "ValidationException"},
		"context of RSA":        {rsa, bob().ARN, []types.GrantOperation{"Decrypt"}, bound, "ValidationException"},
		"no such key":           {rsa[:len(rsa)-12] + "000000000000", bob().ARN, []types.GrantOperation{"Encrypt"}, nil, "NotFoundException"},
	} {
		_, err := g.alice.CreateGrant(g.ctx, &kms.CreateGrantInput{KeyId: &c.key, GranteePrincipal: &c.grantee, Operations: c.operations, Constraints: c.bound})
		expect(t, name, err, c.code, "")
	}
	_, err := g.alice.CreateGrant(g.ctx, &kms.CreateGrantInput{KeyId: &g.key, GranteePrincipal: aws.String(bob().ARN), Operations: []types.GrantOperation{"Encrypt"}, DryRun: aws.Bool(true)})
	expect(t, "dry run", err, "DryRunOperationException", "")
	if len(g.state.Grants) != 0 {
		t.Errorf("%d grants were made", len(g.state.Grants))
	}
}
