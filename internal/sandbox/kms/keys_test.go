package kms

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/go-cmp/cmp"
)

func TestLists(t *testing.T) {
	b, ctx := newBench(t, Options{}), testContext(t)
	c := b.client(alice(), "us-east-1")
	for _, alias := range []string{"alias/a", "alias/b", "alias/c", "alias/d"} {
		b.create(t, KeyOptions{Alias: alias})
	}
	b.create(t, KeyOptions{Account: another, Alias: "alias/theirs"})
	b.create(t, KeyOptions{Region: "eu-west-1", Alias: "alias/far"})
	var names []string
	pages := kms.NewListAliasesPaginator(c, &kms.ListAliasesInput{Limit: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Aliases {
			names = append(names, *a.AliasName)
		}
	}
	if diff := cmp.Diff([]string{"alias/a", "alias/aws/s3", "alias/b", "alias/c", "alias/d"}, names); diff != "" {
		t.Error(diff)
	}
	keys, err := c.ListKeys(ctx, &kms.ListKeysInput{Limit: aws.Int32(4)})
	if err != nil || len(keys.Keys) != 4 || !keys.Truncated {
		t.Fatalf("%+v, %v", keys, err)
	}
	if keys, err = c.ListKeys(ctx, &kms.ListKeysInput{Marker: keys.NextMarker}); err != nil || len(keys.Keys) != 1 || keys.Truncated {
		t.Errorf("%+v, %v", keys, err)
	}
}

func TestDeletion(t *testing.T) {
	now := time.Now()
	b, ctx := newBench(t, Options{Now: func() time.Time { return now }}), testContext(t)
	b.endpoint.Verifier.Now = nil // requests are signed for today
	c, arn := b.client(alice(), "us-east-1"), b.create(t, KeyOptions{Alias: "alias/gone"})
	if err := b.ScheduleDeletion(arn); err != nil {
		t.Fatal(err)
	}
	now = now.Add(29 * day)
	if meta, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &arn}); err != nil || meta.KeyMetadata.KeyState != types.KeyStatePendingDeletion || meta.KeyMetadata.DeletionDate == nil {
		t.Errorf("%+v, %v", meta, err)
	}
	now = now.Add(2 * day)
	_, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &arn})
	expect(t, "after the waiting period", err, "NotFoundException", "does not exist")
	_, err = c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/gone")})
	expect(t, "its alias", err, "NotFoundException", "")
}

func TestPersistence(t *testing.T) {
	dir, ctx := t.TempDir(), testContext(t)
	first := newBench(t, Options{Dir: dir})
	arn := first.create(t, KeyOptions{Alias: "alias/kept"})
	key, err := dataKey(ctx, first.client(alice(), "us-east-1"), arn, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Disable(arn); err != nil {
		t.Fatal(err)
	}
	second := newBench(t, Options{Dir: dir})
	c := second.client(alice(), "us-east-1")
	_, err = open(ctx, c, "alias/kept", key.CiphertextBlob, nil)
	expect(t, "after a restart", err, "DisabledException", "")
	if err := second.Enable(arn); err != nil {
		t.Fatal(err)
	}
	if out, err := open(ctx, c, "", key.CiphertextBlob, nil); err != nil || !bytes.Equal(out.Plaintext, key.Plaintext) {
		t.Error(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if fi, err := files[0].Info(); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, fileName)); err != nil || !strings.Contains(string(text), "It is a toy") {
		t.Errorf("the file does not say that it is a toy: %v", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	_, err = c.CreateKey(ctx, &kms.CreateKeyInput{})
	expect(t, "directory gone", err, "KMSInternalException", "write the sandbox's keys")
}
