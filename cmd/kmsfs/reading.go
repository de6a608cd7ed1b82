package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kmsfs/kmsfs/s3io"
)

// requirements are the words of --require-encryption, in the order of s3io's.
var requirements = []string{s3io.RequireEnforce: "enforce", s3io.RequireWarn: "warn", s3io.RequireOff: "off"}

func readingSettings() []setting {
	return []setting{
		{name: "require-encryption", group: reading, arg: "enforce|warn|off", def: "enforce",
			help: "objects that S3 does not encrypt under an accepted key: refuse to read them, log each once, or do not look",
			set:  oneOf(func(c *config) *string { return &c.require }, requirements)},
		{name: "allow-key-id", group: reading, arg: "KEY", list: true, help: "read objects under this KMS key as well; repeatable",
			set: appended(func(c *config) *[]string { return &c.sealing.AllowKeyIDs })},
	}
}

// finishReading is finish for what may be read, after the policies are known.
// The keys that are allowed count for S3's encryption and for the envelope's.
func (c *config) finishReading() error {
	sealed, kms := c.s3.Envelope != nil, c.sseKMS()
	if len(c.sealing.AllowKeyIDs) > 0 && !sealed && !kms && c.s3.Policy.Mode != s3io.ModeBucketDefault {
		return fmt.Errorf("%s has no meaning with --sse %s, which reads whatever S3 encrypts; leave out one of the two", c.given["allow-key-id"], c.s3.Policy.Mode)
	}
	require := s3io.Requirement(max(0, slices.Index(requirements, c.require)))
	if require != s3io.RequireEnforce && sealed && !kms {
		return fmt.Errorf("%s has no meaning with --%s unless --sse says aws:kms; --allow-key-id and --foreign say what may be read", c.given["require-encryption"], envelopeKey)
	}
	c.s3.Require, c.s3.AllowKeyIDs = require, c.sealing.AllowKeyIDs
	return nil
}

// looksAtS3 reports whether reads look at how S3 encrypts.
func (c *config) looksAtS3() bool { return c.s3.Envelope == nil || c.sseKMS() }

// sampled is how many objects doctor looks at.
const sampled = 20

// existing looks at some of the objects that are there: a bucket that was used
// before may have some that the mount would refuse to read.
func (p *patient) existing(ctx context.Context, found *check) error {
	if p.bucket == nil || p.locked || !p.c.looksAtS3() || !p.proven && !p.c.s3.ReadOnly {
		return errNotDone
	}
	page, err := p.bucket.List(ctx, s3io.ListQuery{Max: sampled})
	if err != nil {
		return errNotDone // told already
	}
	looked, refused := 0, 0
	for _, o := range page.Objects {
		if strings.HasSuffix(o.Key, "/") || strings.HasPrefix(o.Key, ".kmsfs/") {
			continue
		}
		looked++
		if err := p.bucket.Readable(ctx, o); s3io.KindOf(err) == s3io.KeyRejected {
			refused++
			found.State = stateWarn
			found.Detail, found.Remedy = splitRemedy(err)
		}
	}
	switch {
	case looked == 0:
		return errNotDone
	case refused == 0:
		found.Detail = fmt.Sprintf("none of the first %d would be refused", looked)
	default:
		found.Detail = fmt.Sprintf("reading %d of the first %d would be refused: %s", refused, looked, found.Detail)
	}
	return nil
}

// allowedThroughS3 returns what S3 needs to be allowed of the further keys.
func allowedThroughS3(c *config) (list []iamStatement) {
	if !c.looksAtS3() {
		return nil
	}
	for i, key := range c.s3.AllowKeyIDs {
		for _, s := range throughS3(c, key, []string{"kms:Decrypt"}) {
			s.Sid += fmt.Sprint(i + 2)
			list = append(list, s)
		}
	}
	return list
}
