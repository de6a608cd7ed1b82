package s3io

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Delete removes o as a user would: in a bucket with versions it hides it. It
// removes nothing but what o.ETag says, unless that is empty. An object that is
// gone already is no error; Kind Stale says that it changed.
func (b *Bucket) Delete(ctx context.Context, o Object) error {
	if err := b.writable("delete", o.Key); err != nil {
		return err
	}
	ctx, deadline := b.committing(ctx)
	defer deadline.stop()
	in := &s3.DeleteObjectInput{Bucket: &b.opts.Bucket, Key: aws.String(b.full(o.Key))}
	switch {
	case o.ETag == "":
	case b.capabilities().DeleteIfMatch:
		in.IfMatch = &o.ETag
	default:
		now, _, err := b.head(ctx, o.Key, "")
		switch {
		case KindOf(err) == NotExist:
			return nil
		case err != nil:
			return err
		case now.ETag != o.ETag:
			return changed("delete", o.Key)
		}
	}
	_, err := b.s3.DeleteObject(ctx, in)
	err = classify(ctx, "delete", o.Key, err)
	switch KindOf(err) {
	case NotExist:
		return nil
	case Stale: // perhaps an earlier attempt of ours deleted it
		if _, _, gone := b.head(ctx, o.Key, ""); KindOf(gone) == NotExist {
			return nil
		}
	}
	return err
}

// DeleteVersion removes one version for good. An absent one is no error.
func (b *Bucket) DeleteVersion(ctx context.Context, key, version string) error {
	if err := b.writable("delete version", key); err != nil {
		return err
	}
	ctx, deadline := b.committing(ctx)
	defer deadline.stop()
	return b.deleteVersion(ctx, key, version)
}

func (b *Bucket) deleteVersion(ctx context.Context, key, version string) error {
	_, err := b.s3.DeleteObject(ctx, &s3.DeleteObjectInput{
		Bucket: &b.opts.Bucket, Key: aws.String(b.full(key)), VersionId: optional(version),
	})
	if err = classify(ctx, "delete version", key, err); KindOf(err) == NotExist {
		return nil
	}
	return err
}

// changed is the error for an object that somebody else changed.
func changed(op, key string) error {
	return &Error{Kind: Stale, Op: op, Key: key, Err: errors.New("somebody else changed it meanwhile")}
}
