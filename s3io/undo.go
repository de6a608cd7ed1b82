package s3io

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// create carries out c and keeps promise 2: fail closed, without destroying.
//
// An object that its answer does not prove to be under the policy was created
// by this very commit. If it replaced nothing, it is removed. If it replaced
// something, the version before it is brought back where there is one, and the
// request is tried once more. What is wrong even then is removed if its content
// is elsewhere; else it is kept, and the bucket becomes read-only.
func (b *Bucket) create(ctx context.Context, c creation) (Object, error) {
	first, fault, err := b.try(ctx, c)
	if err != nil || fault == "" {
		return first, err
	}
	if c.cond.IfAbsent {
		return Object{}, b.unproven(c, fault, b.remove(ctx, first, c.commit))
	}
	removed := b.restore(ctx, c, first)
	next, err := b.secondOf(c, first, removed)
	var second Object
	why := ""
	if err == nil {
		second, why, err = b.try(ctx, next)
	}
	if err == nil && why == "" {
		if !removed && ownVersion(first.VersionID) {
			b.warn(fmt.Sprintf("version %s of %q is wrongly encrypted (%s) and could not be removed: that needs s3:DeleteObjectVersion",
				first.VersionID, first.Key, fault))
		}
		return second, nil
	}
	left := first
	if err == nil {
		left, c.commit, removed = second, next.commit, removed && b.restore(ctx, c, second)
	}
	return b.settleWrong(ctx, c, left, fault, removed)
}

// settleWrong ends a replacement that stayed wrong. left is what is under the
// key now, unless it was removed so that the version before it is back. It is
// returned with the error if it is kept.
func (b *Bucket) settleWrong(ctx context.Context, c creation, left Object, fault string, removed bool) (Object, error) {
	switch {
	case removed:
		if c.inPlace {
			b.failClosed(fmt.Sprintf("the server does not encrypt copies of %q as required (%s)", c.key, fault))
		}
		return Object{}, b.unproven(c, fault, nil)
	case !c.precious:
		return Object{}, b.unproven(c, fault, b.remove(ctx, left, c.commit))
	}
	b.failClosed(fmt.Sprintf("%q is not encrypted as required (%s) and is kept, because nothing else holds its content", c.key, fault))
	return left, &Error{Kind: Unverified, Op: c.op, Key: c.key, Err: errors.New(fault),
		Hint: "it is kept, because nothing else holds its content; the mount is read-only now"}
}

// unproven is the error for what was removed, or could not be.
func (b *Bucket) unproven(c creation, fault string, removal error) error {
	e := &Error{Kind: Unverified, Op: c.op, Key: c.key, Err: errors.New(fault),
		Hint: "what was created has been removed; run kmsfs doctor"}
	if removal != nil {
		e.Err = fmt.Errorf("%s, and removing what was created: %w", fault, removal)
		e.Hint = "remove it by hand; run kmsfs doctor"
	}
	return e
}

// secondOf returns the second try of c, under a commit id of its own, so that
// the first is never taken for it.
func (b *Bucket) secondOf(c creation, bad Object, removed bool) (creation, error) {
	next := c
	next.commit = newCommitID()
	if !removed {
		next.cond = Condition{IfMatch: bad.ETag}
	}
	if c.second != nil {
		return c.second(next, bad, removed)
	}
	return next, nil
}

// ownVersion reports whether a version id names a version of its own: a bucket
// without versions has none, one where they are suspended has "null".
func ownVersion(version string) bool { return version != "" && version != "null" }

// restore brings back what bad replaced by removing bad's version, where that
// destroys nothing, and reports whether it did.
func (b *Bucket) restore(ctx context.Context, c creation, bad Object) bool {
	if !ownVersion(bad.VersionID) && (bad.VersionID != "null" || c.base == nil || !ownVersion(c.base.VersionID)) {
		return false
	}
	ctx, deadline := b.committing(ctx)
	defer deadline.stop()
	return b.removeVersion(ctx, bad, c.commit) == nil
}

// remove takes away o, which the commit created, and nothing else: by its
// version, else only while it has o's ETag. Where the right to delete versions
// is missing, the version stays hidden, and the error says so.
func (b *Bucket) remove(ctx context.Context, o Object, commit string) error {
	ctx, deadline := b.committing(ctx)
	defer deadline.stop()
	if o.VersionID != "" {
		err := b.removeVersion(ctx, o, commit)
		if KindOf(err) != Permission {
			return err
		}
		if hidden := b.removeCurrent(ctx, o, commit); hidden != nil {
			return errors.Join(err, hidden)
		}
		if !ownVersion(o.VersionID) {
			return nil // the delete marker took its place
		}
		return fmt.Errorf("version %s is hidden, but still there: %w", o.VersionID, err)
	}
	return b.removeCurrent(ctx, o, commit)
}

// removeVersion deletes the version of o. "null" is a name that others write
// under as well: it must still be the commit's.
func (b *Bucket) removeVersion(ctx context.Context, o Object, commit string) error {
	if !ownVersion(o.VersionID) {
		now, id, err := b.head(ctx, o.Key, o.VersionID)
		if KindOf(err) == NotExist || err == nil && (id != commit || now.ETag != o.ETag) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return b.deleteVersion(ctx, o.Key, o.VersionID)
}

// removeCurrent deletes what is under o's key if it is still what the commit
// created.
func (b *Bucket) removeCurrent(ctx context.Context, o Object, commit string) error {
	in := &s3.DeleteObjectInput{Bucket: &b.opts.Bucket, Key: aws.String(b.full(o.Key))}
	if b.capabilities().DeleteIfMatch {
		in.IfMatch = &o.ETag
	} else {
		now, id, err := b.head(ctx, o.Key, "")
		if KindOf(err) == NotExist || err == nil && (id != commit || now.ETag != o.ETag) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	_, err := b.s3.DeleteObject(ctx, in)
	err = classify(ctx, "delete", o.Key, err)
	if k := KindOf(err); k == NotExist || k == Stale {
		return nil // somebody else replaced or removed it
	}
	return err
}
