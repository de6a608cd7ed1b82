package kms

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

func TestKeyStates(t *testing.T) {
	b, ctx := newBench(t, Options{}), testContext(t)
	c, arn := b.client(alice(), "us-east-1"), b.create(t, KeyOptions{})
	cancel := func() error {
		_, err := c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: &arn})
		return err
	}
	expect(t, "cancel what is not scheduled", cancel(), "KMSInvalidStateException", arn+" is not pending deletion.")
	_, err := c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &arn, PendingWindowInDays: aws.Int32(6)})
	expect(t, "short window", err, "ValidationException", "")
	if err := b.ScheduleDeletion(arn); err != nil {
		t.Fatal(err)
	}
	pending := arn + " is pending deletion."
	expect(t, "enable", b.Enable(arn), "KMSInvalidStateException", pending)
	expect(t, "disable", b.Disable(arn), "KMSInvalidStateException", pending)
	expect(t, "schedule again", b.ScheduleDeletion(arn), "KMSInvalidStateException", pending)
	_, err = c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/late"), TargetKeyId: &arn})
	expect(t, "alias of a pending key", err, "KMSInvalidStateException", pending)
	if err := cancel(); err != nil {
		t.Fatal(err)
	}
	_, err = dataKey(ctx, c, arn, nil)
	expect(t, "after the deletion was cancelled", err, "DisabledException", "")
	if err := b.Enable(arn); err != nil {
		t.Fatal(err)
	}
	if _, err := dataKey(ctx, c, arn, nil); err != nil {
		t.Error(err)
	}
}

func TestAliases(t *testing.T) {
	b, ctx := newBench(t, Options{}), testContext(t)
	c := b.client(alice(), "us-east-1")
	first, second := b.create(t, KeyOptions{}), b.create(t, KeyOptions{})
	create := func(name string) error {
		_, err := c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &first})
		return err
	}
	update := func() error {
		_, err := c.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/a"), TargetKeyId: &second})
		return err
	}
	full := arnOf("us-east-1", home, "alias/a")
	expect(t, "update of none", update(), "NotFoundException", "Alias "+full+" is not found.")
	if err := create("alias/a"); err != nil {
		t.Fatal(err)
	}
	expect(t, "twice", create("alias/a"), "AlreadyExistsException", "An alias with the name "+full+" already exists")
	expect(t, "no prefix", create("a"), "ValidationException", "")
	expect(t, "characters", create("alias/a b"), "ValidationException", "'aliasName' failed to satisfy constraint")
	expect(t, "length", create("alias/"+strings.Repeat("a", 251)), "ValidationException", "256")
	expect(t, "reserved", create("alias/aws/mine"), "NotAuthorizedException", "")
	if err := update(); err != nil {
		t.Fatal(err)
	}
	if key, err := dataKey(ctx, c, "alias/a", nil); err != nil || *key.KeyId != second {
		t.Errorf("%+v, %v", key, err)
	}
	for id, n := range map[string]int{first: 0, second: 1} {
		if list, err := c.ListAliases(ctx, &kms.ListAliasesInput{KeyId: &id}); err != nil || len(list.Aliases) != n {
			t.Errorf("aliases of %s: %+v, %v", id, list, err)
		}
	}
	remove := func() error {
		_, err := c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String("alias/a")})
		return err
	}
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	expect(t, "delete of none", remove(), "NotFoundException", full)
}

func TestPolicyOperations(t *testing.T) {
	b, ctx := newBench(t, Options{}), testContext(t)
	c, arn := b.client(alice(), "us-east-1"), b.create(t, KeyOptions{})
	put := func(policy string) error {
		_, err := c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &arn, Policy: &policy})
		return err
	}
	got, err := c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &arn})
	if err != nil || *got.Policy != defaultPolicy(home) {
		t.Errorf("%+v, %v", got, err)
	}
	expect(t, "malformed", put("{}"), "MalformedPolicyDocumentException", "no statement")
	if err := put(strings.Replace(defaultPolicy(home), `"kms:*"`, `"kms:Decrypt"`, 1)); err != nil {
		t.Fatal(err)
	}
	_, err = dataKey(ctx, c, arn, nil)
	expect(t, "no longer allowed", err, "AccessDeniedException", "because no resource-based policy allows the kms:GenerateDataKey action")
}
