package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kmsfs/kmsfs/cache"
	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/s3io"
)

// envelopeKey is the setting that switches envelope mode on.
const envelopeKey = "envelope-key-id"

// Words of settings that are not just on and off.
const (
	scopeObject = "object"
	readForeign = "read-only"
)

// sealing is what the settings of envelope mode say, as they are given.
// finishEnvelope turns it into s3io's options.
type sealing struct {
	s3io.Envelope
	scope, foreign string
	splice, cache  bool
	ttl, grace     time.Duration
}

func envelopeSettings() []setting {
	return []setting{
		{name: envelopeKey, group: envelope, arg: "KEY", list: true,
			help: "seal content before it leaves, under this KMS key (id, ARN, alias/NAME or alias ARN); further ones open it as well; repeatable",
			set:  appended(func(c *config) *[]string { return &c.sealing.KeyIDs })},
		{name: "context-scope", group: envelope, arg: "bucket|object", def: "bucket",
			help: "what objects are bound to; object binds the name as well, so that a rename rewrites",
			set:  oneOf(func(c *config) *string { return &c.sealing.scope }, []string{"bucket", scopeObject})},
		{name: "context-bucket", group: envelope, arg: "NAME|ARN", def: "the mounted bucket",
			help: "bucket that objects are bound to, for access points and other partitions",
			set:  text(func(c *config) *string { return &c.sealing.ContextBucket })},
		{name: "accept-context-bucket", group: envelope, arg: "NAME|ARN", list: true,
			help: "read objects that are bound to this bucket as well, for replicas and restored copies; repeatable",
			set:  appended(func(c *config) *[]string { return &c.sealing.AcceptContextBuckets })},
		{name: "write-only", group: envelope, bare: "true", help: "never ask KMS to open a data key: what was written before cannot be read",
			set: boolean(func(c *config) *bool { return &c.sealing.WriteOnly })},
		{name: "splice", group: envelope, arg: "on|off", def: "on", bare: "on", help: "keep unchanged parts of large files where they are; off rewrites the whole object",
			set: boolean(func(c *config) *bool { return &c.sealing.splice })},
		{name: "require-mlock", group: envelope, bare: "true", help: "refuse the mount where data keys cannot be kept from swap",
			set: boolean(func(c *config) *bool { return &c.sealing.RequireMlock })},
		{name: "foreign", group: envelope, arg: "deny|read-only", def: "deny", help: "objects that are not sealed: refuse to open them, or let them be read",
			set: oneOf(func(c *config) *string { return &c.sealing.foreign }, []string{"deny", readForeign})},
		{name: "key-cache-ttl", group: envelope, arg: "TIME", def: "15m", help: "how long a data key is used before KMS is asked again: the delay of a revocation",
			set: duration(func(c *config) *time.Duration { return &c.sealing.ttl }, time.Second)},
		{name: "kms-grace", group: envelope, arg: "TIME", def: "15m", help: "how much longer while KMS cannot be reached",
			set: duration(func(c *config) *time.Duration { return &c.sealing.grace }, 0)},
		{name: "key-cache", group: envelope, arg: "on|off", def: "on", bare: "on", help: "keep data keys in memory; off asks KMS at every open",
			set: boolean(func(c *config) *bool { return &c.sealing.cache })},
		{name: "kms-grant-token", group: envelope, arg: "TOKEN", list: true, help: "grant token to send to KMS; repeatable",
			set: appended(func(c *config) *[]string { return &c.sealing.GrantTokens })},
	}
}

// newSealing returns the defaults.
func newSealing() sealing {
	return sealing{splice: true, cache: true, ttl: crypto.DefaultTTL, grace: crypto.DefaultTTL}
}

// finishEnvelope checks the settings of envelope mode and derives s3io's
// options from them.
func (c *config) finishEnvelope() error {
	g := &c.sealing
	if len(g.KeyIDs) == 0 {
		for _, s := range envelopeSettings() {
			if from, ok := c.given[s.name]; ok {
				return fmt.Errorf("%s has no meaning without --%s; add that, or leave it out", from, envelopeKey)
			}
		}
		return nil
	}
	if slices.Contains(g.KeyIDs, "") {
		return fmt.Errorf("%s names no key; give an id, an ARN or alias/NAME", c.given[envelopeKey])
	}
	for name, reads := range map[string]bool{
		"read-only": c.s3.ReadOnly, "allow-key-id": len(g.AllowKeyIDs) > 0,
		"accept-context-bucket": len(g.AcceptContextBuckets) > 0, "foreign": g.foreign == readForeign,
	} {
		if g.WriteOnly && reads {
			return fmt.Errorf("%s has no meaning with --write-only, which reads nothing; leave out one of the two", c.given[name])
		}
	}
	if c.bucketKey == "on" && g.scope == scopeObject && !c.sseKMS() {
		return errors.New("--bucket-key=on has no meaning with --context-scope object, which needs a data key for every object; leave out one of the two")
	}
	g.Context, g.KeyPerObject = c.context, c.bucketKey == "off"
	g.NoSplice, g.PassForeign = !g.splice, g.foreign == readForeign
	if g.scope == scopeObject {
		g.Scope = crypto.ScopeObject
	}
	g.TTL, g.Grace = g.ttl, g.grace
	if g.Grace == 0 {
		g.Grace = -1
	}
	c.s3.Envelope = &g.Envelope
	return nil
}

// openKeyCache gives the bucket of c a cache of data keys, as far as one is
// wanted. The caller closes it after the bucket.
func (c *config) openKeyCache(warn func(text string)) (closeCache func(), err error) {
	if c.s3.Envelope == nil || !c.sealing.cache {
		return func() {}, nil
	}
	keys, err := cache.New[*crypto.DataKey](cache.Options{
		TTL: c.sealing.ttl, Grace: c.sealing.grace,
		Passing: crypto.Passing, Denied: crypto.AccessDenied, Warn: warn,
	})
	if err != nil {
		return nil, err
	}
	c.s3.Envelope.Cache = keys
	return keys.Close, nil
}
