package s3io

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kmsfs/kmsfs/crypto"
)

// seals reports whether objects under key are sealed: all but the markers of
// directories and the entries of the rewrap registry, which have no content.
func (b *Bucket) seals(key string) bool {
	return b.sealing() && !marker(key) && !strings.HasPrefix(key, rewrapDir)
}

// guessForm sets form and size of an object by how many bytes are stored.
func (b *Bucket) guessForm(o *Object) {
	if !b.seals(o.Key) {
		return
	}
	o.Form = Foreign
	if plain, ok := crypto.PlainSize(o.Stored); ok {
		o.Form, o.Size = Sealed, plain
	}
}

// peek finds out whether o, which has the size of a sealed object, is one,
// unless its metadata told. Who may not read it learns that on opening.
func (b *Bucket) peek(ctx context.Context, o *Object) error {
	if o.Form != Sealed || o.Header != nil {
		return nil
	}
	h, err := b.ownHeader(ctx, *o)
	if errors.Is(err, crypto.ErrForeign) {
		o.Form, o.Size = Foreign, o.Stored
		return nil
	}
	switch KindOf(err) {
	case Permission, KeyDisabled, KeyNotFound, KeyRejected, Unsupported:
		return nil
	}
	o.Header = h
	return err
}

// HeaderOf returns the header of a sealed object, as little to be trusted as
// any before it is opened: the one in its metadata where that is known, else
// the one that it begins with. Kind KeyRejected says that it has none.
func (b *Bucket) HeaderOf(ctx context.Context, o Object) (*crypto.Header, error) {
	if o.Header != nil && o.Form != Foreign {
		return o.Header, nil
	}
	return b.ownHeader(ctx, o)
}

// ownHeader returns the header that o begins with.
func (b *Bucket) ownHeader(ctx context.Context, o Object) (*crypto.Header, error) {
	if o.Form != Sealed {
		return nil, foreign("read the header of", o.Key, fmt.Errorf("%w: it has %d bytes", crypto.ErrForeign, o.Size))
	}
	head, err := b.rawAll(ctx, o, 0, crypto.HeaderSize)
	if err != nil {
		return nil, err
	}
	h, err := crypto.ParseHeader(head)
	if err != nil {
		return nil, foreign("read the header of", o.Key, err)
	}
	return h, nil
}

// foreign refuses an object that is not sealed.
func foreign(op, key string, err error) error {
	return &Error{Kind: KeyRejected, Op: op, Key: key, Err: err, Hint: foreignHint}
}
