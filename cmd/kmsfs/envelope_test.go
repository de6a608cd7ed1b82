package main

import (
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/s3io"
)

// sealedBy are settings that switch envelope mode on.
func sealedBy(flags ...string) given {
	return given{flags: append([]string{"--envelope-key-id=alias/e"}, flags...)}
}

func TestEnvelopeSettings(t *testing.T) {
	c, err := sealedBy().read(t)
	if err != nil {
		t.Fatal(err)
	}
	want := s3io.Envelope{KeyIDs: []string{"alias/e"}, TTL: 15 * time.Minute, Grace: 15 * time.Minute}
	if diff := cmp.Diff(&want, c.s3.Envelope); diff != "" {
		t.Errorf("defaults:\n%s", diff)
	}
	if c.s3.Policy.Mode != "" || c.sse() != s3io.ModeBucketDefault || !c.sealing.cache {
		t.Errorf("mode %q, shown as %s; cache %v", c.s3.Policy.Mode, c.sse(), c.sealing.cache)
	}
	c, err = sealedBy("--envelope-key-id=alias/f", "--context-scope=object", "--context-bucket=b", "--accept-context-bucket=c",
		"--accept-context-bucket=d", "--splice=off", "--require-mlock", "--allow-key-id=alias/old", "--foreign=read-only",
		"--key-cache-ttl=1m", "--kms-grace=0", "--key-cache=off", "--kms-grant-token=t", "--encryption-context=team=a", "--bucket-key=off").read(t)
	if err != nil {
		t.Fatal(err)
	}
	want = s3io.Envelope{
		KeyIDs: []string{"alias/e", "alias/f"}, AllowKeyIDs: []string{"alias/old"}, Scope: crypto.ScopeObject,
		ContextBucket: "b", AcceptContextBuckets: []string{"c", "d"}, Context: map[string]string{"team": "a"},
		KeyPerObject: true, TTL: time.Minute, Grace: -1, RequireMlock: true, GrantTokens: []string{"t"}, NoSplice: true, PassForeign: true,
	}
	if diff := cmp.Diff(&want, c.s3.Envelope); diff != "" {
		t.Errorf("all set:\n%s", diff)
	}
	if p := c.s3.Policy; p.BucketKey != s3io.BucketKeyDefault || p.Context != nil || c.sealing.cache {
		t.Errorf("what belongs to the envelope alone went elsewhere: %+v, cache %v", p, c.sealing.cache)
	}
}

// TestSealingAndSSE is about settings that serve both.
func TestSealingAndSSE(t *testing.T) {
	for _, test := range []struct {
		flags  []string
		mode   string
		bucket s3io.BucketKeyMode
		both   bool // the context goes to S3 too
	}{
		{[]string{"--sse=aws:kms", "--bucket-key=off"}, s3io.ModeKMS, s3io.BucketKeyOff, true},
		{[]string{"--sse-kms-key-id=alias/s", "--bucket-key=inherit"}, s3io.ModeKMS, s3io.BucketKeyInherit, true},
		{[]string{"--sse=aws:kms:dsse"}, s3io.ModeDSSE, s3io.BucketKeyDefault, true},
		{[]string{"--sse=none", "--bucket-key=off"}, s3io.ModeNone, s3io.BucketKeyDefault, false},
		{[]string{"--sse=AES256", "--bucket-key=on"}, s3io.ModeS3, s3io.BucketKeyDefault, false},
		{[]string{"--sse=bucket-default"}, s3io.ModeBucketDefault, s3io.BucketKeyDefault, false},
	} {
		c, err := sealedBy(append(test.flags, "--encryption-context=a=b")...).read(t)
		if err != nil {
			t.Errorf("%q: %v", test.flags, err)
			continue
		}
		p := c.s3.Policy
		if p.Mode != test.mode || p.BucketKey != test.bucket || (p.Context != nil) != test.both || c.s3.Envelope.Context["a"] != "b" {
			t.Errorf("%q: %+v and %+v", test.flags, p, c.s3.Envelope)
		}
	}
}

func TestBadEnvelopeSettingsAreRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		given
		want string // regular expression for the message
	}{
		{"write-only without a key", given{flags: []string{"--write-only"}}, `^--write-only has no meaning without --envelope-key-id; add that, or leave it out$`},
		{"default given without a key", given{options: "key_cache_ttl=15m"}, `^-o key_cache_ttl has no meaning without --envelope-key-id`},
		{"empty key", given{env: []string{"KMSFS_ENVELOPE_KEY_ID="}}, `^variable KMSFS_ENVELOPE_KEY_ID: names nothing`},
		{"write-only and read-only", sealedBy("--write-only", "--read-only"), `^--read-only has no meaning with --write-only, which reads nothing; leave out one`},
		{"write-only and old keys", sealedBy("--write-only", "--allow-key-id=a"), `^--allow-key-id has no meaning with --write-only`},
		{"write-only and copies", sealedBy("--write-only", "--accept-context-bucket=a"), `^--accept-context-bucket has no meaning`},
		{"write-only and foreign objects", sealedBy("--write-only", "--foreign=read-only"), `^--foreign has no meaning`},
		{"one key for many in object scope", sealedBy("--context-scope=object", "--bucket-key"), `--bucket-key=on has no meaning with --context-scope object`},
		{"inherit", sealedBy("--bucket-key=inherit"), `^--bucket-key has no meaning with --envelope-key-id unless --sse says aws:kms; leave out one`},
		{"key for S3 that uses none", sealedBy("--sse=none", "--sse-kms-key-id=a"), `^--sse-kms-key-id has no meaning with --sse none`},
		{"unknown scope", sealedBy("--context-scope=prefix"), `^--context-scope: "prefix" is unknown; use bucket or object$`},
		{"unknown treatment", sealedBy("--foreign=write"), `use deny or read-only`},
		{"no TTL", sealedBy("--key-cache-ttl=0"), `^--key-cache-ttl: 0 is too short; use at least 1s$`},
		{"negative grace", sealedBy("--kms-grace=-1s"), `too short`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := test.read(t)
			var usage *usageError
			if !errors.As(err, &usage) {
				t.Fatalf("accepted as %+v, error %v", c, err)
			}
			if !regexp.MustCompile(test.want).MatchString(err.Error()) {
				t.Errorf("message %q does not match %q", err, test.want)
			}
		})
	}
	// A command that mounts nothing may meet any of them.
	if _, err := readConfig(inputs{env: []string{"KMSFS_WRITE_ONLY=on"}, loose: true}); err != nil {
		t.Error(err)
	}
}
