package s3io

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// ListQuery asks for one page of a listing.
type ListQuery struct {
	Prefix    string // keys begin with it; relative to the mount's prefix
	Delimiter bool   // folds what lies behind the next "/" into Prefixes
	After     string // keys behind it; relative to the mount's prefix
	Token     string // of the page before; "" is the first page
	Max       int32  // keys and prefixes at most; 0 is the server's limit of 1,000
}

// ListPage is one page. All keys are relative to the mount's prefix and in
// byte order, objects and prefixes each by itself: merging them is the
// caller's work.
type ListPage struct {
	Objects  []Object
	Prefixes []string
	Token    string // "" at the end
}

// List asks for one page of keys. Its objects have Head == false.
func (b *Bucket) List(ctx context.Context, q ListQuery) (ListPage, error) {
	ctx, deadline := b.reading(ctx)
	defer deadline.stop()
	in := &s3.ListObjectsV2Input{
		Bucket:            &b.opts.Bucket,
		Prefix:            aws.String(b.full(q.Prefix)),
		ContinuationToken: optional(q.Token),
		EncodingType:      types.EncodingTypeUrl, // XML 1.0 cannot carry every key
	}
	if q.Delimiter {
		in.Delimiter = aws.String("/")
	}
	if q.After != "" {
		in.StartAfter = aws.String(b.full(q.After))
	}
	if q.Max > 0 {
		in.MaxKeys = aws.Int32(q.Max)
	}
	out, err := b.s3.ListObjectsV2(ctx, in)
	if err != nil {
		return ListPage{}, classify(ctx, "list", q.Prefix, err)
	}
	encoded := out.EncodingType == types.EncodingTypeUrl
	page := ListPage{Objects: make([]Object, 0, len(out.Contents))}
	for _, o := range out.Contents {
		key, ok := b.relative(aws.ToString(o.Key), encoded, q)
		if !ok {
			continue
		}
		if aws.ToInt64(o.Size) < 0 {
			return ListPage{}, dishonest(q, fmt.Sprintf("%q has %d bytes", key, *o.Size))
		}
		listed := Object{
			Key:          key,
			Size:         aws.ToInt64(o.Size),
			Stored:       aws.ToInt64(o.Size),
			ETag:         aws.ToString(o.ETag),
			LastModified: aws.ToTime(o.LastModified),
			StorageClass: string(o.StorageClass),
		}
		b.guessForm(&listed)
		page.Objects = append(page.Objects, listed)
	}
	for _, p := range out.CommonPrefixes {
		if key, ok := b.relative(aws.ToString(p.Prefix), encoded, q); ok {
			page.Prefixes = append(page.Prefixes, key)
		}
	}
	if aws.ToBool(out.IsTruncated) {
		page.Token = aws.ToString(out.NextContinuationToken)
		if page.Token == "" || page.Token == q.Token { // taken for the end it would hide names, else nothing would end it
			return ListPage{}, dishonest(q, "it is truncated, and does not say how to go on")
		}
	}
	return page, nil
}

// dishonest refuses a listing that cannot be.
func dishonest(q ListQuery, what string) error {
	return &Error{Kind: Other, Op: "list", Key: q.Prefix, Err: errors.New("the server's listing makes no sense: " + what)}
}

// relative takes a listed key to one below the mount's prefix. A server that
// lists other keys than q asks for is not believed: what is listed gets renamed
// and removed.
func (b *Bucket) relative(key string, encoded bool, q ListQuery) (string, bool) {
	if encoded {
		if plain, err := url.QueryUnescape(key); err == nil {
			key = plain
		}
	}
	key, ok := strings.CutPrefix(key, b.opts.Prefix)
	return key, ok && strings.HasPrefix(key, q.Prefix)
}
