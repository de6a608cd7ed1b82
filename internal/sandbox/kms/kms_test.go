package kms

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// expect checks the code of an error that the SDK or S3 got, and part of its message.
func expect(t *testing.T, what string, err error, code, message string) {
	t.Helper()
	var sdk smithy.APIError
	var own *wire.Error
	gotCode, gotMessage := "no error", ""
	switch {
	case errors.As(err, &own):
		gotCode, gotMessage = own.Code, own.Message
	case errors.As(err, &sdk):
		gotCode, gotMessage = sdk.ErrorCode(), sdk.ErrorMessage()
	case err != nil:
		gotCode = err.Error()
	}
	if gotCode != code || !strings.Contains(gotMessage, message) {
		t.Errorf("%s: %s %q, want %s %q", what, gotCode, gotMessage, code, message)
	}
}

func dataKey(ctx context.Context, c *kms.Client, id string, encryption map[string]string) (*kms.GenerateDataKeyOutput, error) {
	return c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &id, KeySpec: types.DataKeySpecAes256, EncryptionContext: encryption})
}

func open(ctx context.Context, c *kms.Client, id string, blob []byte, encryption map[string]string) (*kms.DecryptOutput, error) {
	in := &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: encryption}
	if id != "" {
		in.KeyId = &id
	}
	return c.Decrypt(ctx, in)
}

func TestContextIsAuthenticated(t *testing.T) {
	b, ctx := newBench(t, Options{}), testContext(t)
	c := b.client(alice(), "us-east-1")
	arn, other := b.create(t, KeyOptions{Alias: "alias/a"}), b.create(t, KeyOptions{})
	encryption := map[string]string{"aws:s3:arn": "arn:aws:s3:::demo", "a": "b"}
	key, err := dataKey(ctx, c, "alias/a", encryption)
	if err != nil || *key.KeyId != arn || len(key.Plaintext) != 32 {
		t.Fatalf("%+v, %v", key, err)
	}
	for _, id := range []string{"", arn, "alias/a", arn[strings.LastIndexByte(arn, '/')+1:], arnOf("us-east-1", home, "alias/a")} {
		if out, err := open(ctx, c, id, key.CiphertextBlob, encryption); err != nil || !bytes.Equal(out.Plaintext, key.Plaintext) || *out.KeyId != arn {
			t.Errorf("decrypt by %q: %+v, %v", id, out, err)
		}
	}
	for name, wrong := range map[string]map[string]string{
		"missing": nil, "part": {"a": "b"}, "more": {"aws:s3:arn": "arn:aws:s3:::demo", "a": "b", "c": ""},
		"value": {"aws:s3:arn": "arn:aws:s3:::demo", "a": "B"}, "shifted": {"aws:s3:arn": "arn:aws:s3:::demoa", "": "b"},
	} {
		_, err := open(ctx, c, arn, key.CiphertextBlob, wrong)
		if name == "shifted" {
			expect(t, name, err, "ValidationException", "")
			continue
		}
		expect(t, "context "+name, err, "InvalidCiphertextException", "")
	}
	for i := range key.CiphertextBlob {
		blob := bytes.Clone(key.CiphertextBlob)
		blob[i] ^= 1
		if _, e := b.decrypt(call{op: "Decrypt", who: wire.Principal{Identity: alice(), Region: "us-east-1"}}, decryptInput{CiphertextBlob: blob, EncryptionContext: encryption}); e == nil {
			t.Errorf("byte %d altered, and decrypted", i)
		}
	}
	_, err = open(ctx, c, other, key.CiphertextBlob, encryption)
	expect(t, "another key", err, "IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
	_, err = open(ctx, c, arn, []byte("AWS's own"), nil)
	expect(t, "foreign blob", err, "InvalidCiphertextException", "")
}

func TestErrors(t *testing.T) {
	b, ctx := newBench(t, Options{}), testContext(t)
	c := b.client(alice(), "us-east-1")
	disabled, pending := b.create(t, KeyOptions{}), b.create(t, KeyOptions{})
	if err := errors.Join(b.Disable(disabled), b.ScheduleDeletion(pending)); err != nil {
		t.Fatal(err)
	}
	rsa := b.create(t, KeyOptions{Spec: "RSA_2048"})
	ecc := b.create(t, KeyOptions{Spec: "ECC_NIST_P256", Usage: "SIGN_VERIFY"})
	hmac := b.create(t, KeyOptions{Spec: "HMAC_256", Usage: "GENERATE_VERIFY_MAC"})
	far := b.create(t, KeyOptions{Region: "eu-west-1"})
	const id = "12345678-1234-1234-1234-123456789012"
	for _, x := range []struct{ id, code, message string }{
		{disabled, "DisabledException", disabled + " is disabled."},
		{pending, "KMSInvalidStateException", pending + " is pending deletion."},
		{rsa, "InvalidKeyUsageException", "You cannot generate a data key with an asymmetric CMK"},
		{ecc, "InvalidKeyUsageException", ecc + " key usage is SIGN_VERIFY which is not valid for GenerateDataKey."},
		{hmac, "InvalidKeyUsageException", "GENERATE_VERIFY_MAC"},
		{far, "NotFoundException", "Invalid arn eu-west-1"},
		{far[strings.LastIndexByte(far, '/')+1:], "NotFoundException", "does not exist"},
		{id, "NotFoundException", "Key 'arn:aws:kms:us-east-1:111122223333:key/" + id + "' does not exist"},
		{"alias/none", "NotFoundException", "Alias arn:aws:kms:us-east-1:111122223333:alias/none is not found."},
		{"none", "NotFoundException", "Invalid keyId 'none'"},
		{"mrk-none", "NotFoundException", "Invalid keyId"},
		{"arn:aws:s3:::demo", "NotFoundException", "Invalid arn"},
		{"arn:aws:kms", "NotFoundException", "Invalid arn"},
		{arnOf("us-east-1", another, "key/"+id), "AccessDeniedException", "the resource does not exist in this Region"},
		{arnOf("us-east-1", another, "alias/x"), "AccessDeniedException", "the resource does not exist in this Region"},
		{"alias/aws/s3", "AccessDeniedException", "because no resource-based policy allows the kms:GenerateDataKey action"},
	} {
		_, err := dataKey(ctx, c, x.id, nil)
		expect(t, x.id, err, x.code, x.message)
	}
	good := b.create(t, KeyOptions{})
	_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &good, Plaintext: make([]byte, 4097)})
	expect(t, "large", err, "ValidationException", "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096")
	_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: &rsa, Plaintext: []byte("x")})
	expect(t, "encrypt under RSA", err, "InvalidKeyUsageException", "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048.")
	_, err = c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &good})
	expect(t, "no size", err, "ValidationException", "Please specify either number of bytes or key spec.")
	_, err = c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &good, NumberOfBytes: aws.Int32(1025)})
	expect(t, "size", err, "ValidationException", "Value '1025' at 'numberOfBytes'")
	_, err = c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &good, NumberOfBytes: aws.Int32(16), DryRun: aws.Bool(true)})
	expect(t, "dry run", err, "DryRunOperationException", "")
	_, err = c.GenerateRandom(ctx, &kms.GenerateRandomInput{})
	expect(t, "unknown operation", err, "UnknownOperationException", "")
	_, err = c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: aws.String("alias/aws/s3")})
	expect(t, "alias where none is taken", err, "NotFoundException", "Invalid keyId")
	_, err = c.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecHmac256})
	expect(t, "spec and usage", err, "ValidationException", "KeyUsage ENCRYPT_DECRYPT is not compatible with KeySpec HMAC_256")
	stranger := alice()
	stranger.SecretKey = "wrong"
	_, err = dataKey(ctx, b.client(stranger, "us-east-1"), good, nil)
	expect(t, "wrong secret", err, "InvalidSignatureException", "")
	_, err = dataKey(ctx, b.client(wire.Identity{AccessKey: "X", SecretKey: "X"}, "us-east-1"), good, nil)
	expect(t, "unknown caller", err, "UnrecognizedClientException", "The security token included in the request is invalid.")
}

func TestOtherAccount(t *testing.T) {
	b, ctx := newBench(t, Options{}), testContext(t)
	ours, theirs := b.client(alice(), "us-east-1"), b.client(bob(), "us-east-1")
	allow := strings.Replace(defaultPolicy(another), `"arn:aws:iam::`+another+`:root"`, `["arn:aws:iam::`+another+`:root", "`+home+`"]`, 1)
	shared, private := b.create(t, KeyOptions{Account: another, Policy: allow, Alias: "alias/shared"}), b.create(t, KeyOptions{Account: another})
	key, err := dataKey(ctx, ours, shared, nil)
	if err != nil || *key.KeyId != shared {
		t.Fatalf("%+v, %v", key, err)
	}
	if _, err := dataKey(ctx, ours, arnOf("us-east-1", another, "alias/shared"), nil); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"", shared} {
		if _, err := open(ctx, ours, id, key.CiphertextBlob, nil); err != nil {
			t.Errorf("decrypt by %q: %v", id, err)
		}
	}
	if meta, err := ours.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &shared}); err != nil || *meta.KeyMetadata.AWSAccountId != another {
		t.Errorf("%+v, %v", meta, err)
	}
	_, err = dataKey(ctx, ours, private, nil)
	expect(t, "key without a right", err, "AccessDeniedException", "is not authorized to perform: kms:GenerateDataKey on resource: "+private)
	_, err = dataKey(ctx, ours, "alias/shared", nil)
	expect(t, "alias name is of the caller's account", err, "NotFoundException", "")
	_, err = ours.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &shared})
	expect(t, "management from outside", err, "AccessDeniedException", "")
	sealed, err := dataKey(ctx, theirs, private, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(ctx, ours, "", sealed.CiphertextBlob, nil)
	expect(t, "blob under a key without a right", err, "AccessDeniedException", "on the resource associated with this ciphertext")
}

func TestMultiRegion(t *testing.T) {
	b, ctx := newBench(t, Options{}), testContext(t)
	primary := b.create(t, KeyOptions{MultiRegion: true})
	replica, err := b.Replicate(primary, "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	here, there := b.client(alice(), "us-east-1"), b.client(alice(), "eu-west-1")
	key, err := dataKey(ctx, here, primary, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", replica} {
		if out, err := open(ctx, there, id, key.CiphertextBlob, nil); err != nil || *out.KeyId != replica {
			t.Errorf("decrypt by %q in the other region: %+v, %v", id, out, err)
		}
	}
	_, err = open(ctx, there, primary, key.CiphertextBlob, nil)
	expect(t, "primary's ARN in the other region", err, "NotFoundException", "Invalid arn us-east-1")
	meta, err := there.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &replica})
	if err != nil {
		t.Fatal(err)
	}
	want := &types.MultiRegionConfiguration{
		MultiRegionKeyType: types.MultiRegionKeyTypeReplica,
		PrimaryKey:         &types.MultiRegionKey{Arn: &primary, Region: aws.String("us-east-1")},
		ReplicaKeys:        []types.MultiRegionKey{{Arn: &replica, Region: aws.String("eu-west-1")}},
	}
	if diff := cmp.Diff(want, meta.KeyMetadata.MultiRegionConfiguration, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".noSmithyDocumentSerde" }, cmp.Ignore())); diff != "" {
		t.Error(diff)
	}
	single, err := dataKey(ctx, here, b.create(t, KeyOptions{}), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(ctx, there, "", single.CiphertextBlob, nil)
	expect(t, "single-region blob elsewhere", err, "AccessDeniedException", "")
}

// TestFromS3 checks that calls of S3 are counted, logged and refused as any other.
func TestFromS3(t *testing.T) {
	b := newBench(t, Options{})
	ctx := wire.WithCaller(testContext(t), wire.Principal{Identity: alice(), Region: "us-east-1"})
	encryption := map[string]string{"aws:s3:arn": "arn:aws:s3:::demo"}
	plain, wrapped, arn, err := b.GenerateDataKey(ctx, managedAlias, encryption)
	if err != nil || arn != b.KeyARN(managedAlias) {
		t.Fatalf("%s, %v", arn, err)
	}
	if again, err := b.Decrypt(ctx, arn, wrapped, encryption); err != nil || !bytes.Equal(again, plain) {
		t.Error(err)
	}
	undo := b.denials.Deny("kms:Decrypt", arn)
	_, err = b.Decrypt(ctx, arn, wrapped, encryption)
	expect(t, "denied", err, "AccessDeniedException", "User: "+alice().ARN+" is not authorized to perform: kms:Decrypt on resource: "+arn)
	undo()
	b.faults.Add(wire.Fault{Op: "Decrypt", Times: 1, Kind: wire.Answer, Status: 400, Code: "ThrottlingException"})
	_, err = b.Decrypt(ctx, arn, wrapped, encryption)
	expect(t, "throttled", err, "ThrottlingException", "")
	if _, err = b.Decrypt(ctx, arn, wrapped, encryption); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]int{"GenerateDataKey": 1, "Decrypt": 4}, b.log.Counts()); diff != "" {
		t.Error(diff)
	}
	r := b.log.Requests()[1]
	if !r.Internal || r.Service != "kms" || r.Key != arn || r.Status != 200 || r.Caller != alice().ARN || !cmp.Equal(r.Context, encryption) {
		t.Errorf("log: %+v", r)
	}
	_, _, _, err = b.GenerateDataKey(wire.WithCaller(ctx, wire.Principal{Identity: bob(), Region: "us-east-1"}), arn, nil)
	expect(t, "managed key of another account", err, "AccessDeniedException", "")
}

func TestFaultsOverHTTP(t *testing.T) {
	b, ctx := newBench(t, Options{}), testContext(t)
	c, arn := b.client(alice(), "us-east-1"), b.create(t, KeyOptions{})
	b.faults.Add(wire.Fault{Op: "GenerateDataKey", Key: arn, Times: 1, Kind: wire.Answer, Status: 500, Code: "KeyUnavailableException", Message: "later"})
	_, err := dataKey(ctx, c, arn, nil)
	expect(t, "injected", err, "KeyUnavailableException", "later")
	if _, err := dataKey(ctx, c, arn, map[string]string{"a": "b"}); err != nil {
		t.Error(err)
	}
	if r := b.log.Requests()[1]; r.Internal || r.Key != arn || !cmp.Equal(r.Context, map[string]string{"a": "b"}) {
		t.Errorf("log: %+v", r)
	}
}

func TestRateLimit(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l := limiter{rate: 2}
	var got []bool
	for _, pause := range []time.Duration{0, 0, 0, time.Second / 2, 0, time.Hour, 0, 0} {
		now = now.Add(pause)
		got = append(got, l.take(now))
	}
	if diff := cmp.Diff([]bool{true, true, false, true, false, true, true, false}, got); diff != "" {
		t.Error(diff)
	}
	b, ctx := newBench(t, Options{RateLimit: 1, Now: func() time.Time { return time.Now().Truncate(time.Hour) }}), testContext(t)
	b.endpoint.Verifier.Now = nil
	c := b.client(alice(), "us-east-1")
	if _, err := c.ListKeys(ctx, &kms.ListKeysInput{}); err != nil {
		t.Fatal(err)
	}
	_, err := c.ListKeys(ctx, &kms.ListKeysInput{})
	expect(t, "over the limit", err, "ThrottlingException", "You have exceeded the rate")
}

// TestConcurrency is for the race detector.
func TestConcurrency(t *testing.T) {
	b, ctx := newBench(t, Options{}), testContext(t)
	arn := b.create(t, KeyOptions{})
	caller := wire.WithCaller(ctx, wire.Principal{Identity: alice(), Region: "us-east-1"})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if _, _, _, err := b.GenerateDataKey(caller, arn, nil); err != nil {
					expect(t, "concurrent use", err, "DisabledException", "")
				}
				if err := errors.Join(b.Disable(arn), b.Enable(arn)); err != nil {
					t.Error(err)
				}
				if _, e := b.listKeys(call{op: "ListKeys", who: wire.Caller(caller)}, pageInput{}); e != nil {
					t.Error(e)
				}
			}
		})
	}
	wg.Wait()
	if n := b.log.Count("GenerateDataKey"); n != 160 {
		t.Errorf("%d calls counted", n)
	}
}
