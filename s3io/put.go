package s3io

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/kmsfs/kmsfs/crypto"
)

// Names of the creating operations in errors.
const (
	opPut      = "put"
	opCopy     = "copy to"
	opCreate   = "create upload of"
	opComplete = "complete upload of"
)

// checksum is what every body is sent with: the fastest that S3 knows, and
// which all servers do.
const checksum = types.ChecksumAlgorithmCrc32c

// sum returns the checksum of the rest of body, as a header takes it, and
// rewinds body to where it was. Left to itself the SDK sends checksums over TLS
// as trailers, in a single chunk of the whole body, which not every server
// takes (MinIO: at most 16 MiB).
func sum(body io.ReadSeeker) (*string, error) {
	if known, ok := body.(interface{ checksum() string }); ok {
		return aws.String(known.checksum()), nil
	}
	start, err := body.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, fmt.Errorf("find offset of body: %w", err)
	}
	crc := newSum()
	if _, err := io.Copy(crc, body); err != nil {
		return nil, fmt.Errorf("sum up body: %w", err)
	}
	if _, err := body.Seek(start, io.SeekStart); err != nil {
		return nil, fmt.Errorf("rewind body: %w", err)
	}
	return aws.String(encodeSum(crc)), nil
}

func newSum() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }

func encodeSum(crc hash.Hash) string { return base64.StdEncoding.EncodeToString(crc.Sum(nil)) }

// unsigned leaves the body out of the signature where nobody can change it on
// its way: the checksum, which is signed, covers it against mishaps. Hashing it
// costs a sixth of the CPU of an upload.
func (b *Bucket) unsigned(o *s3.Options) {
	if b.private {
		o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}
}

// Put stores size bytes of body, from its current offset on, as one object,
// and returns when the server's answer has proven its encryption. What is not
// sealed may be read several times. Kind Exists or Stale says that c was not
// met. Once begun it is carried through: ctx only prevents the start.
func (b *Bucket) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, a Attrs, c Condition) (Object, error) {
	if !b.seals(key) {
		return b.put(ctx, key, body, size, nil, a, c)
	}
	if err := b.writable(opPut, key); err != nil {
		return Object{}, err
	}
	if size > maxSealedPart {
		return Object{}, &Error{Kind: TooLarge, Op: opPut, Key: key, Err: fmt.Errorf("%d bytes, one request takes %d", size, int64(maxSealedPart))}
	}
	p := b.writes.newPages(0, size, new(sync.RWMutex))
	defer p.release()
	switch err := p.readFrom(ctx, body, 0, size); {
	case errors.Is(err, errSpoolFull):
		return Object{}, noRoom(key, err)
	case err != nil:
		return Object{}, classify(ctx, opPut, key, err)
	}
	p.leave()
	return b.putPages(ctx, key, []*pages{p}, a, c)
}

// putPages stores what held has, from the beginning of a file to its end.
func (b *Bucket) putPages(ctx context.Context, key string, held []*pages, a Attrs, c Condition) (Object, error) {
	if !b.seals(key) {
		body, size := newBody(held...)
		return b.put(ctx, key, body, size, nil, a, c)
	}
	s, err := b.newSealer(ctx, opPut, key)
	if err != nil {
		return Object{}, err
	}
	body, size, err := sealBody(s, 0, true, held...)
	if err != nil {
		return Object{}, classify(ctx, opPut, key, err)
	}
	return b.put(ctx, key, body, size, s, a, c)
}

// newSealer begins a message for key.
func (b *Bucket) newSealer(ctx context.Context, op, key string) (*crypto.Sealer, error) {
	ctx, deadline := withDeadline(ctx, b.ctx, b.commit)
	defer deadline.stop()
	s, err := b.keys.Seal(ctx, b.full(key))
	return s, keyError(ctx, op, key, err)
}

// put stores size bytes of body as they are; s has sealed them, unless it is
// nil.
func (b *Bucket) put(ctx context.Context, key string, body io.ReadSeeker, size int64, s *crypto.Sealer, a Attrs, c Condition) (Object, error) {
	if err := b.writable(opPut, key); err != nil {
		return Object{}, err
	}
	start, err := body.Seek(0, io.SeekCurrent)
	if err != nil {
		return Object{}, fmt.Errorf("put %q: find offset of body: %w", key, err)
	}
	if err := begun(ctx, opPut, key); err != nil {
		return Object{}, err
	}
	ctx, deadline := b.committing(ctx)
	defer deadline.stop()
	h, err := b.inherit(ctx, opPut, key, a, a.Base, a.Base != nil && (!a.Base.Head || a.Base.Tags > 0))
	if err == nil {
		err = b.dress(ctx, &h, s, a, 0)
	}
	if err != nil {
		return Object{}, err
	}
	caps := b.capabilities()
	o, err := b.create(ctx, creation{
		op: opPut, key: key, commit: h.commitID(),
		cond: c, honoured: honours(c, caps.PutIfAbsent, caps.PutIfMatch),
		echo: EchoPut, base: placeOf(a.Base, key), precious: true,
		send: func(ctx context.Context, commit string, c Condition) (made, error) {
			if _, err := body.Seek(start, io.SeekStart); err != nil {
				return made{}, fmt.Errorf("rewind body: %w", err)
			}
			return b.sendPut(ctx, key, body, size, h.header(commit), c)
		},
	})
	return h.filled(o, size), err
}

// placeOf returns base if its place is the one of key: else it lends its
// attributes alone.
func placeOf(base *Object, key string) *Object {
	if base == nil || base.Key != key {
		return nil
	}
	return base
}

// begun refuses to begin what its caller no longer waits for.
func begun(ctx context.Context, op, key string) error {
	if ctx.Err() == nil {
		return nil
	}
	return classify(ctx, op, key, ctx.Err())
}

// honours reports whether the server checks c.
func honours(c Condition, ifAbsent, ifMatch bool) bool {
	return (!c.IfAbsent || ifAbsent) && (c.IfMatch == "" || ifMatch)
}

// conditions returns c as the SDK's inputs take it.
func (c Condition) conditions() (ifMatch, ifNoneMatch *string) {
	if c.IfAbsent {
		ifNoneMatch = aws.String("*")
	}
	return optional(c.IfMatch), ifNoneMatch
}

// sendPut makes one PutObject request.
func (b *Bucket) sendPut(ctx context.Context, key string, body io.ReadSeeker, size int64, h http.Header, c Condition) (made, error) {
	crc, err := sum(body)
	if err != nil {
		return made{}, err
	}
	in := &s3.PutObjectInput{
		Bucket: &b.opts.Bucket, Key: aws.String(b.full(key)),
		Body: body, ContentLength: &size, ChecksumCRC32C: crc,
	}
	in.IfMatch, in.IfNoneMatch = c.conditions()
	b.wanted().onPut(in)
	out, err := b.s3.PutObject(ctx, in, once, b.unsigned, with(h))
	if err != nil {
		return made{}, err
	}
	return made{
		etag: aws.ToString(out.ETag), version: aws.ToString(out.VersionId), when: served(out.ResultMetadata),
		proof: newProof(out.ServerSideEncryption, out.SSEKMSKeyId, out.BucketKeyEnabled, out.SSEKMSEncryptionContext),
	}, nil
}

func newProof(algorithm types.ServerSideEncryption, key *string, bucketKey *bool, context *string) proof {
	return proof{
		Encryption: Encryption{Algorithm: string(algorithm), KeyID: aws.ToString(key), BucketKey: aws.ToBool(bucketKey)},
		context:    aws.ToString(context),
	}
}

// served is when the server answered, by its own clock: as near to the
// object's modification time as an answer without it comes.
func served(md middleware.Metadata) time.Time {
	if t, ok := awsmiddleware.GetServerTime(md); ok {
		return t
	}
	return time.Now().UTC().Truncate(time.Second)
}
