package crypto_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// TestResolveKeyAgainstAKMS walks keys of a KMS through their states.
func TestResolveKeyAgainstAKMS(t *testing.T) {
	s, err := sandbox.Start(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	client := crypto.NewKMS(aws.Config{
		Region:      "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("kmsfs", "kmsfs-secret", ""),
	}, s.KMSURL())
	create := func(spec types.KeySpec, usage types.KeyUsageType) string {
		t.Helper()
		out, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(out.KeyMetadata.Arn)
	}
	refused := func(id string, want crypto.Reason) {
		t.Helper()
		_, err := crypto.ResolveKey(t.Context(), client, id, "us-east-1")
		var e *crypto.KeyError
		if !errors.As(err, &e) || e.Reason != want {
			t.Errorf("%s: %v, want reason %d", id, err, want)
		}
	}

	arn := create(types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt)
	key, err := crypto.ResolveKey(t.Context(), client, arn, "us-east-1")
	if err != nil || key.ARN != arn || key.Region != "us-east-1" {
		t.Errorf("%+v, %v", key, err)
	}
	if byID, err := crypto.ResolveKey(t.Context(), client, key.ID, "us-east-1"); err != nil || byID != key {
		t.Errorf("by id: %+v, %v", byID, err)
	}
	demo, err := crypto.ResolveKey(t.Context(), client, "alias/kmsfs-demo", "us-east-1")
	if err != nil || demo.ARN == "" || demo.ARN == arn {
		t.Errorf("by alias: %+v, %v", demo, err)
	}
	refused("alias/nobody", crypto.NoTarget)
	refused("00000000-0000-0000-0000-000000000000", crypto.NotFound)
	refused(create(types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt), crypto.Asymmetric)
	refused(create(types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac), crypto.HMAC)

	if _, err := client.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &arn}); err != nil {
		t.Fatal(err)
	}
	refused(arn, crypto.Disabled)
	if _, err := client.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &arn}); err != nil {
		t.Fatal(err)
	}
	refused(arn, crypto.PendingDeletion)
}
