package s3io

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// upload is a multipart upload that was created under the policy.
type upload struct {
	key, id  string
	commitID string
	heritage heritage
	base     *Object // whose place the object takes
	plain    bool    // no checksum was announced, so none may be named at the end
}

// part is one that the server has taken.
type part struct {
	n        int32
	etag     string
	checksum string // CRC32C in base64
	size     int64
}

// beginUpload begins an upload; dress completes what is stored beside its
// content. The server's answer has proven its encryption before the first byte
// is sent, where the server puts proof into answers at all; else completeUpload
// verifies the result.
func (b *Bucket) beginUpload(ctx context.Context, key string, a Attrs, dress func(context.Context, *heritage) error) (upload, error) {
	if err := b.writable(opCreate, key); err != nil {
		return upload{}, err
	}
	if err := begun(ctx, opCreate, key); err != nil {
		return upload{}, err
	}
	ctx, deadline := b.committing(ctx)
	defer deadline.stop()
	h, err := b.inherit(ctx, opCreate, key, a, a.Base, a.Base != nil)
	if err == nil {
		err = dress(ctx, &h)
	}
	if err != nil {
		return upload{}, err
	}
	// MinIO refuses UploadPartCopy into an upload that announced checksums.
	u, p, err := b.sendCreate(ctx, key, h, a.Base != nil && !b.genuine)
	if err != nil {
		return upload{}, classify(ctx, opCreate, key, err)
	}
	u.base = placeOf(a.Base, key)
	if err := b.journal.begin(key, u.id); err != nil {
		return upload{}, errors.Join(fmt.Errorf("note upload of %q: %w", key, err), b.abortUpload(ctx, u))
	}
	if p.silent() && b.capabilities().Echo < EchoAll {
		return u, nil
	}
	if fault := b.expectation().fault(p); fault != "" {
		b.counters.unverified.Add(1)
		e := &Error{Kind: Unverified, Op: opCreate, Key: key, Err: errors.New(fault), Hint: "nothing was sent; run kmsfs doctor"}
		if err := b.abortUpload(ctx, u); err != nil {
			e.Err = fmt.Errorf("%s, and aborting it: %w", fault, err)
		}
		return upload{}, e
	}
	return u, nil
}

// sendCreate makes the CreateMultipartUpload request. It may be repeated: an
// upload without parts costs nothing and changes nothing. A plain upload
// announces no checksums: its parts are checked as they arrive all the same.
func (b *Bucket) sendCreate(ctx context.Context, key string, h heritage, plain bool) (upload, proof, error) {
	in := &s3.CreateMultipartUploadInput{Bucket: &b.opts.Bucket, Key: aws.String(b.full(key))}
	if !plain {
		in.ChecksumAlgorithm = checksum // versitygw fails at the end where it was not announced
	}
	b.wanted().onCreate(in)
	u := upload{key: key, commitID: h.commitID(), heritage: h, plain: plain}
	out, err := b.s3.CreateMultipartUpload(ctx, in, with(h.header(u.commitID)))
	if err != nil {
		return upload{}, proof{}, err
	}
	if u.id = aws.ToString(out.UploadId); u.id == "" {
		return upload{}, proof{}, errors.New("server named no upload id")
	}
	return u, newProof(out.ServerSideEncryption, out.SSEKMSKeyId, out.BucketKeyEnabled, out.SSEKMSEncryptionContext), nil
}

// uploadPart sends size bytes of body, from its current offset on, as part n.
func (b *Bucket) uploadPart(ctx context.Context, u upload, n int32, body io.ReadSeeker, size int64) (part, error) {
	op := fmt.Sprintf("upload part %d of", n)
	ctx, deadline := withDeadline(ctx, b.ctx, b.commit)
	defer deadline.stop()
	crc, err := sum(body)
	if err != nil {
		return part{}, fmt.Errorf("%s %q: %w", op, u.key, err)
	}
	out, err := b.s3.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &b.opts.Bucket, Key: aws.String(b.full(u.key)), UploadId: &u.id, PartNumber: &n,
		Body: body, ContentLength: &size, ChecksumCRC32C: crc,
	}, b.unsigned)
	if err != nil {
		return part{}, classify(ctx, op, u.key, err)
	}
	p := newProof(out.ServerSideEncryption, out.SSEKMSKeyId, out.BucketKeyEnabled, nil)
	if err := b.partFault(op, u.key, p); err != nil {
		return part{}, err
	}
	return part{n: n, etag: aws.ToString(out.ETag), checksum: aws.ToString(out.ChecksumCRC32C), size: size}, nil
}

// copyPart takes part n from size bytes of src at off, if src is unchanged. Where the
// server does not compare ETags, that is to be asked when all parts are copied.
func (b *Bucket) copyPart(ctx context.Context, u upload, n int32, src Object, off, size int64) (part, error) {
	op := fmt.Sprintf("copy part %d of", n)
	ctx, deadline := withDeadline(ctx, b.ctx, b.commit)
	defer deadline.stop()
	out, err := b.s3.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
		Bucket: &b.opts.Bucket, Key: aws.String(b.full(u.key)), UploadId: &u.id, PartNumber: &n,
		CopySource: aws.String(b.source(src)), CopySourceIfMatch: b.sourceMatch(src),
		CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+size-1)),
	})
	if err != nil {
		return part{}, classify(ctx, op, u.key, err)
	}
	p := newProof(out.ServerSideEncryption, out.SSEKMSKeyId, out.BucketKeyEnabled, nil)
	if err := b.partFault(op, u.key, p); err != nil {
		return part{}, err
	}
	r := out.CopyPartResult
	if r == nil || aws.ToString(r.ETag) == "" {
		return part{}, &Error{Kind: Other, Op: op, Key: u.key, Err: errors.New("server named no ETag")}
	}
	return part{n: n, etag: *r.ETag, checksum: aws.ToString(r.ChecksumCRC32C), size: size}, nil
}

// partFault refuses an answer to a part that contradicts the policy. Silence
// is no contradiction: what counts is proven at the upload's beginning and end.
func (b *Bucket) partFault(op, key string, p proof) error {
	if p.silent() {
		return nil
	}
	fault := b.expectation().fault(p)
	if fault == "" {
		return nil
	}
	b.counters.unverified.Add(1)
	return &Error{Kind: Unverified, Op: op, Key: key, Err: errors.New(fault), Hint: "run kmsfs doctor"}
}

// completeUpload makes parts, in order, the object of size stored bytes. Afterwards
// the upload is gone, unless an error says otherwise: then abort it. Kind
// Exists or Stale says that c was not met.
func (b *Bucket) completeUpload(ctx context.Context, u upload, parts []part, size int64, c Condition) (Object, error) {
	if err := b.writable(opComplete, u.key); err != nil {
		return Object{}, err
	}
	ctx, deadline := b.committing(ctx)
	defer deadline.stop()
	caps := b.capabilities()
	o, err := b.create(ctx, creation{
		op: opComplete, key: u.key, commit: u.commitID,
		cond: c, honoured: honours(c, caps.CompleteIfAbsent, caps.CompleteIfMatch),
		echo: EchoAll, base: u.base, precious: true,
		inPlace: u.base != nil && u.base.Key == u.key && u.base.stored() == size && c.IfMatch == u.base.ETag,
		send: func(ctx context.Context, _ string, c Condition) (made, error) {
			return b.sendComplete(ctx, u, parts, size, c)
		},
		second: func(c creation, bad Object, removed bool) (creation, error) {
			return b.mend(c, u.heritage.filled(bad, size), removed, u.heritage)
		},
	})
	if err == nil {
		if unnoted := b.journal.end(u.id); unnoted != nil { // the next clean-up finds it gone
			b.warn(unnoted.Error())
		}
	}
	return u.heritage.filled(o, size), err
}

// sendComplete makes one CompleteMultipartUpload request.
func (b *Bucket) sendComplete(ctx context.Context, u upload, parts []part, size int64, c Condition) (made, error) {
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &b.opts.Bucket, Key: aws.String(b.full(u.key)), UploadId: &u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: make([]types.CompletedPart, len(parts))},
		MpuObjectSize:   &size,
	}
	for i, p := range parts {
		in.MultipartUpload.Parts[i] = types.CompletedPart{PartNumber: &p.n, ETag: &p.etag}
		if !u.plain {
			in.MultipartUpload.Parts[i].ChecksumCRC32C = optional(p.checksum)
		}
	}
	in.IfMatch, in.IfNoneMatch = c.conditions()
	out, err := b.s3.CompleteMultipartUpload(ctx, in, once)
	if err != nil {
		return made{}, err
	}
	return made{
		etag: aws.ToString(out.ETag), version: aws.ToString(out.VersionId), when: served(out.ResultMetadata),
		proof: newProof(out.ServerSideEncryption, out.SSEKMSKeyId, out.BucketKeyEnabled, nil),
	}, nil
}

// abortUpload drops an upload and its parts. One that is gone is no error. No
// part may be on its way.
func (b *Bucket) abortUpload(ctx context.Context, u upload) error {
	ctx, deadline := b.committing(ctx)
	defer deadline.stop()
	_, err := b.s3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &b.opts.Bucket, Key: aws.String(b.full(u.key)), UploadId: &u.id,
	})
	if err = classify(ctx, "abort upload of", u.key, err); err != nil && KindOf(err) != NotExist {
		return err
	}
	return b.journal.end(u.id)
}
