package s3io

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/kmsfs/kmsfs/crypto"
)

// message is a sealed object that is being read. All who read it share what
// opens it, which is asked for once. It is safe for concurrent use.
type message struct {
	b      *Bucket
	object Object

	turn   chan struct{} // taken, also over I/O, by who changes opened
	opened atomic.Pointer[opened]
}

// opened is what opens the frames of a message.
type opened struct {
	*crypto.Opener
	own bool // by the header that the object begins with, known to be that
}

func (b *Bucket) message(o Object) *message {
	m := &message{b: b, object: o}
	if b.sealing() {
		m.turn = make(chan struct{}, 1)
	}
	return m
}

// lock takes the turn.
func (m *message) lock(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return classify(ctx, "open", m.object.Key, ctx.Err())
	}
}

// unlock returns what opens the message. Unless that is known already the
// keyring is asked about the header h, if there is one. What is refused, and
// not for the moment only, gets a second chance by the object's own header,
// fetched anew.
func (m *message) unlock(ctx context.Context, h *crypto.Header) (*opened, error) {
	if known := m.opened.Load(); known != nil {
		return known, nil
	}
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer func() { <-m.turn }()
	if known := m.opened.Load(); known != nil {
		return known, nil
	}
	var err error
	if h == nil {
		h, err = m.b.ownHeader(ctx, m.object)
	}
	if h != nil {
		var open *opened
		if open, err = m.ask(ctx, h, false); err == nil {
			return open, nil
		}
	}
	if lasting(err) {
		if open, second := m.openOwn(ctx, h); open != nil || second != nil {
			return open, second
		}
	}
	return nil, err
}

// instead returns what opens the message after failed did not: nil where
// there is no other header. The caller holds the error of failed.
func (m *message) instead(ctx context.Context, failed *opened) (*opened, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer func() { <-m.turn }()
	switch known := m.opened.Load(); {
	case known != failed:
		return known, nil
	case known.own:
		return nil, nil
	}
	better, err := m.openOwn(ctx, failed.Header())
	if better == nil && err == nil {
		m.opened.Store(&opened{failed.Opener, true})
	}
	return better, err
}

// openOwn opens the message by the object's own header; nil if that is refused.
// The caller has the turn.
func (m *message) openOwn(ctx context.Context, refused *crypto.Header) (*opened, error) {
	if refused != nil && m.object.Form != Sealed {
		return nil, nil // a marker has none
	}
	h, err := m.b.ownHeader(ctx, m.object)
	if err != nil || refused != nil && h.Equal(refused) {
		return nil, err
	}
	return m.ask(ctx, h, true)
}

// ask asks the keyring. The caller has the turn.
func (m *message) ask(ctx context.Context, h *crypto.Header, own bool) (*opened, error) {
	ctx, deadline := m.b.reading(ctx)
	defer deadline.stop()
	open, err := m.b.keys.Open(ctx, h, m.b.full(m.object.Key))
	if err != nil {
		return nil, keyError(ctx, "open", m.object.Key, err)
	}
	o := &opened{open, own}
	m.opened.Store(o)
	return o, nil
}

// lasting reports whether an error says something about the object, its key or
// the rights to them, so that to ask again is of no use.
func lasting(err error) bool {
	switch KindOf(err) {
	case Other, Timeout, Interrupted:
		return false
	}
	return true
}

// Unlock asks the keyring whether o can be opened, as far as its header is
// known, and proves that an empty file is empty, of which nothing is ever read.
// What is not sealed needs no key. Its errors are those of a read.
func (b *Bucket) Unlock(ctx context.Context, o Object) error { return b.message(o).prove(ctx) }

// Unlock is that of Bucket, for what the Reader reads: once it succeeded, reads
// need no key any more.
func (r *Reader) Unlock(ctx context.Context) error { return r.message.prove(ctx) }

func (m *message) prove(ctx context.Context) error {
	o := m.object
	switch {
	case m.b.passes(o):
		return nil
	case o.Form != Sealed:
		return foreign("open", o.Key, crypto.ErrForeign)
	case o.Size == 0:
		return m.proveEmpty(ctx)
	case o.Header == nil:
		return nil
	}
	_, err := m.unlock(ctx, o.Header)
	return err
}

// passes reports whether o may be read although it is not sealed.
func (b *Bucket) passes(o Object) bool {
	return !b.seals(o.Key) || o.Form == Foreign && b.opts.Envelope.PassForeign
}

// metadata opens what is stored beside the message.
func (m *message) metadata(ctx context.Context, open func(*crypto.Opener) error) error {
	o, err := m.unlock(ctx, m.object.Header)
	for err == nil {
		failure := open(o.Opener)
		if !errors.Is(failure, crypto.ErrTampered) {
			return failure
		}
		if o, err = m.instead(ctx, o); o == nil && err == nil {
			err = failure
		}
	}
	return err
}
