package s3io

import (
	"context"
	"io"
	"slices"

	"github.com/kmsfs/kmsfs/crypto"
)

// splice is how new frames join those of a sealed base.
type splice struct {
	open     *crypto.Opener // of the base's message
	replaced int64          // frames of the message that objects no longer have, by this splice and those before
}

// maxReplaced bounds the frames that are sealed under one message with random
// IVs, those that an object can have included, to half of what NIST SP 800-38D
// (8.3) takes: beyond it the content is sealed anew.
const maxReplaced = 1<<31 - maxObject/crypto.Stride

// copyable returns how many of the first n bytes of base an upload can copy: all
// from the smallest part on. Of a sealed base these are whole frames, and not
// its final one, and none where it has to be sealed anew.
func (w *Writer) copyable(base *Object, n int64) int64 {
	if w.whole || n < minPart {
		return 0
	}
	if !w.b.seals(w.key) {
		return n
	}
	e := w.b.opts.Envelope
	if base.Form != Sealed || !base.Head || e.NoSplice || !w.b.capabilities().CopyIfMatch ||
		e.Scope == crypto.ScopeObject && base.Key != w.key {
		return 0
	}
	regular := int64(crypto.FinalFrame(base.Stored)-1) * frameSize
	n = min(n-n%frameSize, regular)
	if n < minPart || replaced(base, n) > maxReplaced {
		return 0
	}
	return n
}

// replaced returns how many frames of base's message no object has any more, if
// an object takes over the first n bytes. It is known before that object is,
// and together with the object's frames bounds what was ever sealed.
func replaced(base *Object, n int64) int64 {
	return base.Spliced + int64(crypto.FinalFrame(base.Stored)) - n/frameSize
}

// load reads what the file begins with and an upload cannot copy. It has to be
// called before anything is written; where it fails it goes on another time.
func (w *Writer) load(ctx context.Context) error {
	if !w.unread {
		return nil
	}
	if w.base.Form != Sealed && w.b.seals(w.key) {
		return foreign("append to", w.key, crypto.ErrForeign)
	}
	r := w.b.NewReader(*w.base)
	defer r.Close()
	if w.base.Size == 0 { // nothing of it is read, but it has to be as empty as it looks
		if err := r.Unlock(ctx); err != nil {
			return err
		}
	}
	for w.loaded < w.baseLen {
		if err := w.loadPiece(ctx, r); err != nil {
			return err
		}
	}
	if w.copied > 0 && w.b.seals(w.key) {
		if err := w.join(ctx, r); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.baseLen, w.unread = w.copied, false
	return nil
}

// loadPiece reads what falls into one part, by one GET.
func (w *Writer) loadPiece(ctx context.Context, r *Reader) error {
	buf, at := w.buffer(w.loaded)
	n := min(w.baseLen-w.loaded, buf.size-at)
	// Room first: a wait for it with the answer at hand would keep a connection
	// from the uploads that have to end before there is room.
	if err := buf.reserve(ctx, at, at+n); err != nil {
		return err
	}
	from := r.stream(ctx, w.loaded, n)
	defer from.close()
	if err := buf.readFrom(ctx, from, at, n); err != nil {
		return err
	}
	w.loaded += n
	w.turn()
	return nil
}

// join finds out what opens the base. A frame that it has opened proves that it
// belongs to the header which is going to be copied.
func (w *Writer) join(ctx context.Context, r *Reader) error {
	if r.message.opened.Load() == nil {
		from := r.stream(ctx, w.copied-1, 1)
		defer from.close()
		if _, err := io.ReadFull(from, make([]byte, 1)); err != nil {
			return err
		}
	}
	w.splice = &splice{open: r.message.opened.Load().Opener, replaced: replaced(w.base, w.copied)}
	return nil
}

// lastPage returns what the file's last page has, if its size is not a whole
// number of them and the page is held.
func (w *Writer) lastPage(size int64) []byte {
	n := size % frameSize
	for _, p := range w.held() {
		if at := size - n - p.from; n > 0 && at >= 0 && at+n == p.have.prefix() {
			page, err := p.content(int(at/frameSize), make([]byte, p.spool.frame))
			if err == nil && int64(len(page)) >= n {
				return slices.Clone(page[:n])
			}
		}
	}
	return nil
}

// goOn is load after a commit, with what is known from it: the last page, which
// the next upload has to send again. Without room in memory load will read it.
func (w *Writer) goOn(rest []byte) {
	if w.copied == 0 || w.opener == nil || w.baseLen-w.copied != int64(len(rest)) {
		return
	}
	if len(rest) > 0 {
		c := w.b.writes.mem.tryGet(small)
		if c == nil {
			return
		}
		buf, _ := w.buffer(w.copied)
		buf.install(0, c)
		if _, err := buf.writeAt(w.b.ctx, rest, 0); err != nil {
			return
		}
	}
	w.splice = &splice{open: w.opener, replaced: replaced(w.base, w.copied)}
	w.loaded = w.baseLen
	w.mu.Lock()
	defer w.mu.Unlock()
	w.baseLen, w.unread = w.copied, false
}

// stream is a source as an io.Reader, with its deadline.
type stream struct {
	*source
	ctx      context.Context
	deadline *deadline
}

// stream reads n bytes at off.
func (r *Reader) stream(ctx context.Context, off, n int64) *stream {
	ctx, deadline := r.bucket.reading(ctx)
	return &stream{r.source(off, off+n), ctx, deadline}
}

func (s *stream) Read(p []byte) (int, error) { return s.read(s.ctx, p) }

func (s *stream) close() {
	s.source.close()
	s.deadline.stop()
}
