package s3io

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/crypto"
)

// copyStreams is how many parts of one large copy are made at a time.
const copyStreams = 8

// Copy makes dst from src within the server, under the policy, and returns
// when the answer has proven its encryption. src is pinned by its ETag: Kind
// Stale says that it, or what c says of dst, changed; Exists that dst is there.
// It takes over headers (unless a has its own), tags, storage class, lock and,
// where readable, the ACL, and of a sealed object all that belongs to its
// message. src.Key == dst changes the attributes in place. What is bound to its
// key is read and sealed anew. Kind KeyRejected refuses what should be sealed
// and is not. Once begun it is carried through: ctx only prevents the start.
func (b *Bucket) Copy(ctx context.Context, src Object, dst string, a Attrs, c Condition) (Object, error) {
	if err := b.writable(opCopy, dst); err != nil {
		return Object{}, err
	}
	if err := begun(ctx, opCopy, dst); err != nil {
		return Object{}, err
	}
	ctx, deadline := b.committing(ctx)
	defer deadline.stop()
	src, err := b.known(ctx, src)
	if err != nil {
		return Object{}, err
	}
	b.noteCopy(src, dst)
	if src.Key == dst && c == (Condition{}) {
		c.IfMatch = src.ETag // nobody's newer content is replaced by older
	}
	switch {
	case b.seals(src.Key) && src.Form != Sealed:
		return Object{}, foreign(opCopy, dst, crypto.ErrForeign)
	case src.Form == Sealed && src.Key != dst && b.RenameRewrites():
		return b.rewrite(ctx, src, dst, a, c)
	case src.stored() > b.copyLimit:
		return b.copyLarge(ctx, src, dst, a, c)
	}
	h, err := b.inherit(ctx, opCopy, dst, a, &src, false)
	if err == nil {
		err = b.carry(ctx, &h, src, a)
	}
	if err != nil {
		return Object{}, err
	}
	o, err := b.create(ctx, b.copying(src, dst, h, c))
	if code(err) == noMarkerCopy && marker(src.Key) && src.stored() == 0 {
		a.Base = &src
		return b.Put(ctx, dst, bytes.NewReader(nil), 0, a, c)
	}
	return h.filled(o, src.stored()), err
}

// noMarkerCopy is what versitygw answers to a copy of a directory's marker.
const noMarkerCopy = "DirectoryObjectContainsData"

// carry completes h by what is stored with the message of src, or beside what
// is not sealed, which a copy of it keeps.
func (b *Bucket) carry(ctx context.Context, h *heritage, src Object, a Attrs) error {
	a.Base = &src
	bound := b.RenameRewrites() && src.Key != h.key // a marker's attributes are bound to its key
	if src.Form != Sealed && (a.Xattrs != nil || bound || !b.sealing()) {
		if err := b.dressPlain(ctx, h, a); err != nil || b.sealing() {
			return err
		}
	}
	h.form, h.sealed, h.xattrs, h.spliced = src.Form, src.Header, src.Xattrs, src.Spliced
	if src.Form == Sealed && a.Xattrs != nil {
		open, err := b.message(src).unlock(ctx, src.Header)
		if err != nil {
			return err
		}
		h.sealed = open.Header()
		if h.xattrs, err = sealXattrs(open.Opener, a.Xattrs); err != nil {
			return err
		}
	}
	return h.fit()
}

// copying is the creation of dst by CopyObject.
func (b *Bucket) copying(src Object, dst string, h heritage, c Condition) creation {
	caps := b.capabilities()
	n := creation{
		op: opCopy, key: dst, commit: h.commitID(),
		cond: c, honoured: honours(c, caps.CopyToAbsent, caps.CopyToMatch),
		echo: EchoAll, send: b.copySender(src, dst, h),
	}
	if src.Key == dst {
		n.base, n.inPlace, n.precious = &src, true, true
		n.second = func(c creation, bad Object, removed bool) (creation, error) {
			if removed {
				return c, nil // src is back, and copied again
			}
			return b.mend(c, h.filled(bad, src.stored()), removed, h)
		}
	}
	return n
}

// mend copies a wrongly encrypted object onto itself: the second try of what
// has no other source. What was removed cannot be mended.
func (b *Bucket) mend(c creation, bad Object, removed bool, h heritage) (creation, error) {
	if removed {
		return c, errors.New("there is nothing left to copy")
	}
	if bad.stored() > b.copyLimit {
		return c, errors.New("too large to be copied onto itself at once")
	}
	caps := b.capabilities()
	c.op, c.honoured, c.send = opCopy, honours(c.cond, caps.CopyToAbsent, caps.CopyToMatch), b.copySender(bad, bad.Key, h)
	return c, nil
}

// copySender returns what makes one CopyObject request from an unchanged src.
func (b *Bucket) copySender(src Object, dst string, h heritage) func(context.Context, string, Condition) (made, error) {
	return func(ctx context.Context, commit string, c Condition) (made, error) {
		if err := b.unchanged(ctx, src); err != nil {
			return made{}, err
		}
		return b.sendCopy(ctx, src, b.sourceMatch(src), dst, h.header(commit), c)
	}
}

// sendCopy makes one CopyObject request, for a src that has the ETag match
// unless that is nil.
func (b *Bucket) sendCopy(ctx context.Context, src Object, match *string, dst string, h http.Header, c Condition) (made, error) {
	in := &s3.CopyObjectInput{
		Bucket: &b.opts.Bucket, Key: aws.String(b.full(dst)),
		CopySource: aws.String(b.source(src)), CopySourceIfMatch: match,
		MetadataDirective: types.MetadataDirectiveReplace, TaggingDirective: types.TaggingDirectiveCopy,
	}
	in.IfMatch, in.IfNoneMatch = c.conditions()
	b.wanted().onCopy(in)
	out, err := b.s3.CopyObject(ctx, in, once, with(h))
	if err != nil {
		return made{}, err
	}
	m := made{version: aws.ToString(out.VersionId), when: served(out.ResultMetadata),
		proof: newProof(out.ServerSideEncryption, out.SSEKMSKeyId, out.BucketKeyEnabled, out.SSEKMSEncryptionContext)}
	if r := out.CopyObjectResult; r != nil {
		m.etag = aws.ToString(r.ETag)
		if r.LastModified != nil {
			m.when = *r.LastModified
		}
	}
	return m, nil
}

// sourceMatch is the ETag that the server compares src with; nil leaves that
// to unchanged. MinIO compares markers with an ETag that it never tells (see
// plainETag), so it is not asked about them.
func (b *Bucket) sourceMatch(src Object) *string {
	marker := strings.HasSuffix(src.Key, "/") && src.Size == 0
	if !b.capabilities().CopyIfMatch || marker && !b.genuine {
		return nil
	}
	return optional(src.ETag)
}

// unchanged asks for src by HEAD where the server does not compare its ETag.
func (b *Bucket) unchanged(ctx context.Context, src Object) error {
	if b.sourceMatch(src) != nil || src.ETag == "" {
		return nil
	}
	now, _, err := b.head(ctx, src.Key, src.VersionID)
	if err == nil && now.ETag != src.ETag {
		err = changed(opCopy, src.Key)
	}
	return err
}

// copyLarge copies by parts what CopyObject does not take.
func (b *Bucket) copyLarge(ctx context.Context, src Object, dst string, a Attrs, c Condition) (Object, error) {
	a.Base = &src
	u, err := b.beginUpload(ctx, dst, a, func(ctx context.Context, h *heritage) error {
		return b.carry(ctx, h, src, a)
	})
	if err != nil {
		return Object{}, err
	}
	parts, err := b.copyParts(ctx, u, src)
	if err == nil {
		err = b.unchanged(ctx, src) // all parts are of it
	}
	if err == nil {
		var o Object
		if o, err = b.completeUpload(ctx, u, parts, src.stored(), c); err == nil {
			return o, nil
		}
	}
	return Object{}, errors.Join(err, b.abortUpload(ctx, u))
}

func (b *Bucket) copyParts(ctx context.Context, u upload, src Object) ([]part, error) {
	stored := src.stored()
	size := max(b.partCopy, (stored+maxParts-1)/maxParts)
	parts := make([]part, (stored+size-1)/size)
	group, ctx := errgroup.WithContext(context.WithoutCancel(ctx))
	group.SetLimit(copyStreams)
	for i := range parts {
		group.Go(func() error {
			off := int64(i) * size
			p, err := b.copyPart(ctx, u, int32(i+1), src, off, min(size, stored-off))
			parts[i] = p
			return err
		})
	}
	return parts, group.Wait()
}

// source is x-amz-copy-source for o.
func (b *Bucket) source(o Object) string {
	bucket := b.opts.Bucket
	if strings.HasPrefix(bucket, "arn:") {
		bucket += "/object"
	}
	s := escape(bucket + "/" + b.full(o.Key))
	if o.VersionID != "" {
		s += "?versionId=" + url.QueryEscape(o.VersionID)
	}
	return s
}

// escape percent-encodes all but slashes: S3 takes "+" for a space.
func escape(s string) string {
	return strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(s))
}
