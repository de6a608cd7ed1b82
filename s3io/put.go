package s3io

import (
	"context"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
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
	start, err := body.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, fmt.Errorf("find offset of body: %w", err)
	}
	crc := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if _, err := io.Copy(crc, body); err != nil {
		return nil, fmt.Errorf("sum up body: %w", err)
	}
	if _, err := body.Seek(start, io.SeekStart); err != nil {
		return nil, fmt.Errorf("rewind body: %w", err)
	}
	return aws.String(base64.StdEncoding.EncodeToString(crc.Sum(nil))), nil
}

// unsigned leaves the body out of the signature where nobody can change it on
// its way: the checksum, which is signed, covers it against mishaps. Hashing it
// costs a sixth of the CPU of an upload.
func (b *Bucket) unsigned(o *s3.Options) {
	if b.private {
		o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}
}

// Put stores size bytes of body, from its current offset on, as one object,
// and returns when the server's answer has proven its encryption. body may be
// read several times. Kind Exists or Stale says that c was not met. Once begun
// it is carried through: ctx only prevents the start.
func (b *Bucket) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, a Attrs, c Condition) (Object, error) {
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
		err = b.dress(ctx, &h, nil, a, 0)
	}
	if err != nil {
		return Object{}, err
	}
	caps := b.capabilities()
	o, err := b.create(ctx, creation{
		op: opPut, key: key, commit: newCommitID(),
		cond: c, honoured: honours(c, caps.PutIfAbsent, caps.PutIfMatch),
		echo: EchoPut, base: a.Base, precious: true,
		send: func(ctx context.Context, commit string, c Condition) (made, error) {
			if _, err := body.Seek(start, io.SeekStart); err != nil {
				return made{}, fmt.Errorf("rewind body: %w", err)
			}
			return b.sendPut(ctx, key, body, size, h.header(commit), c)
		},
	})
	return h.filled(o, size), err
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
