package main

import (
	"fmt"
	"slices"

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
