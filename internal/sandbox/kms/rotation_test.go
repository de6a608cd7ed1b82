package kms

import (
	"bytes"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// TestRotation rotates a multi-Region key by demand and by schedule: what was
// sealed before stays readable, also in the other region.
func TestRotation(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	b, ctx := newBench(t, Options{Dir: dir, Now: func() time.Time { return now }}), testContext(t)
	b.endpoint.Verifier.Now = nil // requests are signed for today
	c, there := b.client(alice(), "us-east-1"), b.client(alice(), "eu-west-1")
	arn := b.create(t, KeyOptions{MultiRegion: true})
	replica, err := b.Replicate(arn, "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	var all []*kms.GenerateDataKeyOutput
	materials := map[string]bool{}
	seal := func(c *kms.Client, id string) {
		t.Helper()
		key, err := dataKey(ctx, c, id, nil)
		if err != nil {
			t.Fatal(err)
		}
		all, materials[*key.KeyMaterialId] = append(all, key), true
	}
	status := func(c *kms.Client, id string) *kms.GetKeyRotationStatusOutput {
		t.Helper()
		out, err := c.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: &id})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	seal(c, arn)
	seal(there, replica)
	if out, err := c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: &arn}); err != nil || *out.KeyId != arn {
		t.Fatal(err)
	}
	seal(c, arn)
	if s := status(c, arn); s.KeyRotationEnabled {
		t.Errorf("%+v", s)
	}
	if _, err := c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: &arn, RotationPeriodInDays: aws.Int32(90)}); err != nil {
		t.Fatal(err)
	}
	if s := status(there, replica); !s.KeyRotationEnabled || *s.RotationPeriodInDays != 90 || !s.NextRotationDate.Equal(now.Add(90*day).Truncate(time.Millisecond)) {
		t.Errorf("%+v", s)
	}
	now = now.Add(90*day - 1)
	seal(there, replica)
	now = now.Add(1)
	seal(there, replica)
	now = now.Add(1000 * day)
	seal(c, arn)
	if len(materials) != 4 {
		t.Errorf("%d generations, want 4", len(materials))
	}
	if s := status(c, arn); !s.NextRotationDate.After(now) {
		t.Errorf("next rotation %v, and it is %v", s.NextRotationDate, now)
	}
	if _, err := c.DisableKeyRotation(ctx, &kms.DisableKeyRotationInput{KeyId: &arn}); err != nil || status(c, arn).KeyRotationEnabled {
		t.Error(err)
	}
	restarted := newBench(t, Options{Dir: dir})
	for i, key := range all {
		for _, b := range []*bench{b, restarted} {
			for region, id := range map[string]string{"us-east-1": arn, "eu-west-1": replica} {
				out, err := open(ctx, b.client(alice(), region), id, key.CiphertextBlob, nil)
				if err != nil || !bytes.Equal(out.Plaintext, key.Plaintext) {
					t.Errorf("blob %d in %s: %v", i, region, err)
				}
			}
		}
	}
}

func TestRotationIsRefused(t *testing.T) {
	b, ctx := newBench(t, Options{}), testContext(t)
	c := b.client(alice(), "us-east-1")
	arn, rsa, primary := b.create(t, KeyOptions{}), b.create(t, KeyOptions{Spec: "RSA_2048"}), b.create(t, KeyOptions{MultiRegion: true})
	replica, err := b.Replicate(primary, "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	enable := func(c *kms.Client, id string, days int32) error {
		_, err := c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: &id, RotationPeriodInDays: &days})
		return err
	}
	expect(t, "RSA", enable(c, rsa, 90), "UnsupportedOperationException", "")
	expect(t, "replica", enable(b.client(alice(), "eu-west-1"), replica, 90), "UnsupportedOperationException", primary)
	expect(t, "short period", enable(c, arn, 89), "ValidationException", "90")
	for range maxDemands {
		if err := b.Rotate(arn); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, "too often", b.Rotate(arn), "LimitExceededException", "")
	if err := b.Disable(arn); err != nil {
		t.Fatal(err)
	}
	expect(t, "disabled", enable(c, arn, 90), "DisabledException", "")
	managed := b.KeyARN(managedAlias)
	_, err = c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: &managed})
	expect(t, "AWS managed key", err, denied, "")
	if s, err := c.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: &managed}); err != nil || !s.KeyRotationEnabled {
		t.Errorf("AWS managed key: %+v, %v", s, err)
	}
}
