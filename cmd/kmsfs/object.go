package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmsfs/kmsfs/s3io"
)

// openedBucket is a bucket that a command opened to look at one object.
type openedBucket struct {
	*s3io.Bucket
	root string // URL that keys are below
}

// addPrefix defines the flag of the prefix that a mount has.
func addPrefix(cmd *cobra.Command, prefix *string) {
	cmd.Flags().StringVar(prefix, "prefix", "", "prefix of the mount that wrote the object, where .kmsfs/ lies; only with s3://")
}

// openObject opens the bucket of url for reading, and returns the key in it
// below prefix. Nothing is sealed or checked unless seal says so.
func openObject(ctx context.Context, in inputs, url, prefix string, seal *s3io.Envelope) (openedBucket, string, error) {
	in.args = map[string][]string{"source": {url}}
	in.loose = true
	c, err := readConfig(in)
	if err != nil {
		return openedBucket{}, "", err
	}
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	key, below := strings.CutPrefix(c.source.key, prefix)
	switch {
	case c.source.key == "":
		return openedBucket{}, "", &usageError{fmt.Errorf("%s names no object; write s3://BUCKET/KEY", url)}
	case !below:
		return openedBucket{}, "", &usageError{fmt.Errorf("%s does not lie below --prefix %s; give the prefix that the mount has", url, prefix)}
	}
	c.s3.Prefix, c.s3.ReadOnly, c.s3.StateDir = prefix, true, ""
	c.s3.Policy = s3io.Policy{Mode: s3io.ModeS3} // any policy: nothing is written, no key is needed
	c.s3.Envelope, c.s3.Require = seal, s3io.RequireOff
	b, err := s3io.Open(ctx, c.s3)
	return openedBucket{b, "s3://" + c.source.bucket + "/" + prefix}, key, err
}

// content is what an object holds, as a stream that is fetched ahead.
type content struct {
	ctx   context.Context
	r     *s3io.Reader
	off   int64
	close func() error
}

// newContent reads o. Close calls then, which may be nil.
func newContent(ctx context.Context, b *s3io.Bucket, o s3io.Object, then func() error) io.ReadCloser {
	return &content{ctx: ctx, r: b.NewReader(o), close: then}
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.r.ReadAt(c.ctx, p, c.off)
	c.off += int64(n)
	if n > 0 {
		return n, nil // the end, or the error, is told by the next call
	}
	return n, err
}

func (c *content) Close() error {
	c.r.Close()
	if c.close == nil {
		return nil
	}
	return c.close()
}
