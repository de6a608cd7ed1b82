package s3io

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/crypto"
)

// Get asks for n bytes of o from off on in one request, to the end of o where
// n < 0; what lies behind the end is left out. The answer is pinned to o's
// version, else to its ETag: Kind Stale says that the object changed. Its
// reader must be closed; it ends with an error when bytes are missing. A read
// that gets nothing for a while ends with Kind Timeout.
//
// What is sealed is opened, and only what is authentic is read: else the error
// is of Kind Integrity, or KeyRejected for what should be sealed and is not.
// KeyRejected also refuses what S3 does not protect as Options.Require says.
func (b *Bucket) Get(ctx context.Context, o Object, off, n int64) (io.ReadCloser, error) {
	return b.message(o).get(ctx, off, n)
}

// get is Get, for all reads of one version.
func (m *message) get(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	o := m.object
	if n < 0 || n > o.Size-off {
		n = o.Size - off
	}
	var body io.ReadCloser = io.NopCloser(strings.NewReader(""))
	var err error
	switch nothing := off < 0 || n <= 0; {
	case m.b.passes(o):
		if !nothing {
			body, err = m.b.content(ctx, o, off, n)
		}
	case o.Form != Sealed:
		err = foreign("get", o.Key, crypto.ErrForeign)
	case !nothing || off == 0 && o.Size == 0: // an empty file is to be proven empty
		body, err = m.unseal(ctx, off, n)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

// content is raw for those who read the content: the answer must say that it
// is protected as required, before any of it is read.
func (b *Bucket) content(ctx context.Context, o Object, off, n int64) (*answer, error) {
	body, err := b.raw(ctx, o, off, n)
	if err != nil {
		return nil, err
	}
	if err := b.admit("get", o.Key, body.encryption); err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return body, nil
}

// raw asks for n > 0 bytes of o as they are stored.
func (b *Bucket) raw(ctx context.Context, o Object, off, n int64) (*answer, error) {
	in := &s3.GetObjectInput{
		Bucket: &b.opts.Bucket,
		Key:    aws.String(b.full(o.Key)),
		Range:  aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1)),
	}
	if o.VersionID != "" {
		in.VersionId = &o.VersionID
	}
	if o.ETag != "" {
		in.IfMatch = &o.ETag // a version "null" can be replaced
	}
	ctx, deadline := b.reading(ctx)
	out, err := b.s3.GetObject(ctx, in)
	if err != nil {
		deadline.stop()
		return nil, stale(classify(ctx, "get", o.Key, err))
	}
	deadline.disarm()
	body := &answer{ctx: ctx, key: o.Key, deadline: deadline, from: out.Body, left: n, meta: out.Metadata,
		encryption: newProof(out.ServerSideEncryption, out.SSEKMSKeyId, out.BucketKeyEnabled, nil).Encryption}
	if now := aws.ToString(out.ETag); now != "" && o.ETag != "" && now != o.ETag { // some servers ignore If-Match
		return nil, errors.Join(&Error{Kind: Stale, Op: "get", Key: o.Key, Err: fmt.Errorf("its ETag is %s now, not %s", now, o.ETag)}, body.Close())
	}
	if err := rangeFault(out, off, n, o.stored()); err != nil {
		return nil, errors.Join(&Error{Kind: Integrity, Op: "get", Key: o.Key, Err: err}, body.Close())
	}
	return body, nil
}

// rawAll reads a few bytes of o as they are stored, and asks again where the
// connection is cut.
func (b *Bucket) rawAll(ctx context.Context, o Object, off, n int64) ([]byte, error) {
	ctx, deadline := b.reading(ctx)
	defer deadline.stop()
	p := make([]byte, n)
	for try := 0; ; try++ {
		body, err := b.raw(ctx, o, off, n)
		if err != nil {
			return nil, err
		}
		_, err = io.ReadFull(body, p)
		err = classify(ctx, "get", o.Key, errors.Join(err, body.Close()))
		if err == nil || lasting(err) {
			return p, err
		}
		deadline.failed(err)
		if err := pause(ctx, try); err != nil {
			return nil, classify(ctx, "get", o.Key, err)
		}
	}
}

// stale names what an absent version means to a pinned read.
func stale(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Kind == Other && status(err) == http.StatusRequestedRangeNotSatisfiable {
		e.Kind = Stale
	}
	return err
}

// rangeFault checks that the answer holds what was asked for: some servers
// ignore Range and would have us read the wrong bytes.
func rangeFault(out *s3.GetObjectOutput, off, n, size int64) error {
	if out.ContentRange == nil && (off != 0 || n != size) {
		return errors.New("server ignored the range")
	}
	want := fmt.Sprintf("bytes %d-%d/", off, off+n-1)
	if got := aws.ToString(out.ContentRange); got != "" && !strings.HasPrefix(got, want) {
		return fmt.Errorf("server answered range %q instead of %q", got, want)
	}
	if out.ContentLength != nil && *out.ContentLength > n { // fewer are a connection that was cut
		return fmt.Errorf("server answered %d bytes instead of %d", *out.ContentLength, n)
	}
	return nil
}

// answer is the content of one answer.
type answer struct {
	ctx      context.Context
	key      string
	deadline *deadline
	from     io.ReadCloser
	left     int64
	meta     map[string]string // of the object

	encryption Encryption // of the object
}

func (a *answer) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > a.left {
		p = p[:a.left]
	}
	n, err := a.from.Read(p)
	a.left -= int64(n)
	switch {
	case err == io.EOF && a.left > 0:
		err = classify(a.ctx, "get", a.key, io.ErrUnexpectedEOF)
	case err == io.EOF || err == nil:
		err = nil // the end is told by the next Read
	default:
		err = classify(a.ctx, "get", a.key, err)
	}
	return n, err
}

func (a *answer) Close() error {
	err := a.from.Close()
	a.deadline.stop()
	return err
}
