package s3io

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"github.com/kmsfs/kmsfs/crypto"
)

// dress completes h by what is stored with the message that s seals: its
// header, extended attributes, and how many of its frames splices replaced. s is
// nil for what is not sealed, which can have attributes all the same.
func (b *Bucket) dress(ctx context.Context, h *heritage, s *crypto.Sealer, a Attrs, spliced int64) error {
	if s == nil {
		return b.dressPlain(ctx, h, a)
	}
	h.form, h.sealed, h.spliced = Sealed, s.Header(), spliced
	if a.Xattrs == nil && a.Base != nil && a.Base.Header.Equal(s.Header()) {
		h.xattrs = a.Base.Xattrs // the message goes on
		return h.fit()
	}
	xattrs, err := b.xattrsFor(ctx, a)
	if err != nil {
		return err
	}
	if h.xattrs, err = sealXattrs(s.Opener, xattrs); err != nil {
		return err
	}
	return h.fit()
}

// dressPlain is dress for objects that are not sealed. Under Envelope these
// are markers of directories: their attributes have a message of their own.
func (b *Bucket) dressPlain(ctx context.Context, h *heritage, a Attrs) error {
	xattrs, err := b.xattrsFor(ctx, a)
	if err != nil {
		return err
	}
	if !b.sealing() {
		if a.Xattrs != nil || a.Meta[plainXattrs] == "" {
			h.meta = withPlainXattrs(h.meta, xattrs)
		}
		return h.fit()
	}
	if len(xattrs) == 0 {
		return nil
	}
	s, err := b.keys.Seal(ctx, b.full(h.key))
	if err != nil {
		return keyError(ctx, h.op, h.key, err)
	}
	h.sealed = s.Header()
	if h.xattrs, err = sealXattrs(s.Opener, xattrs); err != nil {
		return err
	}
	return h.fit()
}

// own returns the user metadata of the message itself.
func (h heritage) own() map[string]string {
	own := map[string]string{}
	if h.sealed != nil && !h.bare {
		if compact := h.sealed.Compact(); compact != nil {
			own[metaHeader] = base64.RawURLEncoding.EncodeToString(compact)
		}
	}
	if h.xattrs != "" {
		own[metaXattrs] = h.xattrs
	}
	if h.spliced > 0 {
		own[metaSpliced] = strconv.FormatInt(h.spliced, 10)
	}
	return own
}

// fit leaves the header out where the user metadata would exceed what S3
// takes: it only saves requests, unless there is no other copy of it.
func (h *heritage) fit() error {
	size := h.size()
	if size > maxMeta && !marker(h.key) {
		h.bare = true
		size = h.size()
	}
	if size <= maxMeta {
		return nil
	}
	return &Error{Kind: NoSpace, Op: h.op, Key: h.key, Err: fmt.Errorf("%d bytes of user metadata, S3 takes %d", size, maxMeta)}
}

// size is what S3 counts of h's user metadata, in bytes.
func (h heritage) size() int {
	size := len(commitKey) + len(newCommitID())
	for _, pairs := range []map[string]string{h.meta, h.own()} {
		for name, value := range pairs {
			size += len(name) + len(value)
		}
	}
	return size
}

// takeOwn moves the metadata of the message from meta to o. What is malformed
// is as good as absent: it only saves requests, or fails to open later.
func takeOwn(o *Object, meta map[string]string) {
	o.Header = headerIn(meta)
	o.Xattrs = meta[metaXattrs]
	if n, err := strconv.ParseInt(meta[metaSpliced], 10, 64); err == nil && n > 0 {
		o.Spliced = n
	}
	for _, name := range []string{metaHeader, metaXattrs, metaSpliced} {
		delete(meta, name)
	}
}

// headerIn returns the header in an object's metadata; nil if there is none.
func headerIn(meta map[string]string) *crypto.Header {
	compact, err := base64.RawURLEncoding.DecodeString(meta[metaHeader])
	if err != nil || len(compact) == 0 {
		return nil
	}
	h, err := crypto.ExpandHeader(compact)
	if err != nil {
		return nil
	}
	return h
}

// keyError says what an error of the keyring, or of what it opened, means to
// who works on key.
func keyError(ctx context.Context, op, key string, err error) error {
	var known *Error
	var unfit *crypto.KeyError
	e := &Error{Op: op, Key: key, Err: err}
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, crypto.ErrForeign):
		e.Kind, e.Hint = KeyRejected, foreignHint
	case errors.Is(err, crypto.ErrTampered):
		e.Kind = Integrity
	case errors.Is(err, crypto.ErrNoRoom): // else Probe had refused the mount
		e.Kind = NameTooLong
	case errors.As(err, &unfit) && unfit.Reason != crypto.Unanswered:
		e.Kind = keyKind(unfit.Reason)
	default:
		e.Kind, e.Hint = kindOf(ctx, err)
	}
	return e
}

// foreignHint is the remedy for objects that are not sealed.
const foreignHint = "the object was not sealed by kmsfs; --foreign read-only reads such objects as they are"
