package s3io

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Head asks for an object's attributes. Kind NotExist is the error where there
// is none.
func (b *Bucket) Head(ctx context.Context, key string) (Object, error) {
	if err := checkKey("head", key, b.full(key)); err != nil {
		return Object{}, err
	}
	ctx, deadline := b.reading(ctx)
	defer deadline.stop()
	return b.stat(ctx, key, "")
}

// stat is head for who needs to know the object's form for certain.
func (b *Bucket) stat(ctx context.Context, key, version string) (Object, error) {
	for n := 0; ; n++ {
		o, _, err := b.head(ctx, key, version)
		if err == nil {
			err = b.peek(ctx, &o)
		}
		if KindOf(err) != Stale || n == 3 { // replaced between the requests
			return o, err
		}
	}
}

// head returns what is under key, or one version of it, and its commit id.
func (b *Bucket) head(ctx context.Context, key, version string) (Object, string, error) {
	full := b.full(key)
	out, err := b.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.opts.Bucket, Key: &full, VersionId: optional(version)})
	if err != nil {
		return Object{}, "", classify(ctx, "head", key, b.explain(ctx, full, version, err))
	}
	meta := maps.Clone(out.Metadata)
	commit := meta[commitKey]
	delete(meta, commitKey)
	o := Object{
		Key:          key,
		Size:         aws.ToInt64(out.ContentLength),
		Stored:       aws.ToInt64(out.ContentLength),
		ETag:         plainETag(key, aws.ToString(out.ETag)),
		VersionID:    aws.ToString(out.VersionId),
		LastModified: aws.ToTime(out.LastModified),
		StorageClass: string(out.StorageClass),
		Head:         true,
		Meta:         meta,
		Headers: Headers{
			ContentType:        aws.ToString(out.ContentType),
			ContentEncoding:    aws.ToString(out.ContentEncoding),
			ContentLanguage:    aws.ToString(out.ContentLanguage),
			ContentDisposition: aws.ToString(out.ContentDisposition),
			CacheControl:       aws.ToString(out.CacheControl),
			Expires:            aws.ToString(out.ExpiresString),
			WebsiteRedirect:    aws.ToString(out.WebsiteRedirectLocation),
		},
		Lock: Lock{
			Mode:      string(out.ObjectLockMode),
			Until:     aws.ToTime(out.ObjectLockRetainUntilDate),
			LegalHold: out.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn,
		},
		Tags: int(aws.ToInt32(out.TagCount)),
		Encryption: Encryption{
			Algorithm: string(out.ServerSideEncryption),
			KeyID:     aws.ToString(out.SSEKMSKeyId),
			BucketKey: aws.ToBool(out.BucketKeyEnabled),
		},
	}
	takeOwn(&o, meta)
	b.guessForm(&o)
	return o, commit, nil
}

// plainETag undoes what MinIO does to the ETag of "name/" under SSE in HEAD
// alone: it answers with the sealed form, whose end is the ETag of listings
// and of all other answers.
func plainETag(key, etag string) string {
	const sealed = `"20000f00` // begins 96 hexadecimal digits
	if strings.HasSuffix(key, "/") && strings.HasPrefix(etag, sealed) && len(etag) == 96+2 {
		return `"` + etag[1+64:]
	}
	return etag
}

// explain finds out what a 400 to HEAD means, which has no body to say so: GET
// of one byte is refused alike, and says why. It tells objects under a
// customer's own key (SSE-C) from expired credentials.
func (b *Bucket) explain(ctx context.Context, full, version string, err error) error {
	if status(err) != http.StatusBadRequest {
		return err
	}
	out, why := b.s3.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &b.opts.Bucket, Key: &full, VersionId: optional(version), Range: aws.String("bytes=0-0"),
	})
	if why == nil {
		return errors.Join(err, out.Body.Close())
	}
	if code(why) == "InvalidRequest" {
		return &Error{Kind: KeyRejected, Op: "head", Key: full[len(b.opts.Prefix):], Err: brief(why),
			Hint: "kmsfs cannot read objects that were stored with a customer-provided key (SSE-C)"}
	}
	return why
}
