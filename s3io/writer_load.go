package s3io

import (
	"context"
	"io"

	"github.com/kmsfs/kmsfs/crypto"
)

// splice is how new frames join those of a sealed base.
type splice struct {
	open     *crypto.Opener // of the base's message
	replaced int64          // frames of it that are not in the object any more after the splice
}

// maxReplaced bounds the frames of one message to the 2^31 that random IVs are
// good for (see crypto): those that were replaced, and as many as an object can
// have. Beyond it the content is sealed anew.
const maxReplaced = 1<<31 - maxObject/crypto.Stride

// copyable returns how many of the first n bytes of base an upload can copy: all
// of them, unless they are less than a part. Of a sealed base these are whole
// frames without the final one, or none where it has to be sealed anew.
func (w *Writer) copyable(base *Object, n int64) int64 {
	if n < minPart || !w.copies(base) {
		return 0
	}
	if !w.b.seals(w.key) {
		return n
	}
	n = min(n-n%frameSize, regular(base))
	if n < minPart || replaced(base, n) > maxReplaced {
		return 0
	}
	return n
}

// copies says whether parts of base can become parts of the file as they are stored.
func (w *Writer) copies(base *Object) bool {
	if w.whole || base == nil {
		return false
	}
	e := w.b.opts.Envelope
	return !w.b.seals(w.key) || base.Form == Sealed && base.Head && !e.NoSplice && w.b.capabilities().CopyIfMatch &&
		(e.Scope != crypto.ScopeObject || base.Key == w.key)
}

// unit returns where parts of the file can begin and end.
func (w *Writer) unit() int64 {
	if w.b.seals(w.key) {
		return frameSize
	}
	return 1
}

// regular returns how much of a sealed object is in all frames but the final one.
func regular(o *Object) int64 { return int64(crypto.FinalFrame(o.Stored)-1) * frameSize }

// replaced returns how many frames of base's message an object lacks that takes
// over the first n bytes. That is known before the object is written, and bounds,
// together with the frames that it has, how many were ever sealed.
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
	shown := w.shows.prefix()
	for w.loaded < shown {
		if err := w.loadPiece(ctx, r); err != nil {
			return err
		}
	}
	if w.copied > 0 && w.b.seals(w.key) {
		open, err := w.join(ctx, r, w.copied-1)
		if err != nil {
			return err
		}
		w.splice = &splice{open: open, replaced: replaced(w.base, w.copied)}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shows, w.unread = upTo(w.copied), false
	return nil
}

// loadPiece reads what falls into one part, by one GET.
func (w *Writer) loadPiece(ctx context.Context, r *Reader) error {
	buf, at := w.buffer(w.loaded)
	n := min(w.shows.prefix()-w.loaded, buf.size-at)
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

// join finds out what opens the base. A frame that it has opened, such as that of
// the byte at off, proves that it belongs to the header which is going to be copied.
func (w *Writer) join(ctx context.Context, r *Reader, off int64) (*crypto.Opener, error) {
	if r.message.opened.Load() == nil {
		from := r.stream(ctx, off, 1)
		defer from.close()
		if _, err := io.ReadFull(from, make([]byte, 1)); err != nil {
			return nil, err
		}
	}
	return r.message.opened.Load().Opener, nil
}

// openerOf returns what opens o, which was just committed, as far as that is
// known.
func (w *Writer) openerOf(o Object) *crypto.Opener {
	if sp := w.splice; sp != nil && sp.open.Header().Equal(o.Header) {
		return sp.open
	}
	for _, p := range w.held() {
		if by := p.at(0).by; by != nil && by.Header().Equal(o.Header) {
			return by
		}
	}
	return nil
}

// lastPage returns what the last page of a file of that size has, if it was
// sealed and is held; nil for a page that is full.
func (w *Writer) lastPage(size int64) []byte {
	n := size % frameSize
	for _, p := range w.held() {
		at := size - n - p.from
		if n == 0 || at < 0 || at+n != p.have.prefix() || p.table[at/frameSize].by == nil {
			continue
		}
		if page, err := p.content(int(at/frameSize), make([]byte, p.spool.frame)); err == nil {
			return page[:n]
		}
	}
	return nil
}

// goOn is load after a commit: what opens the base is known from it, and the
// page that the next upload has to send again. Without room in memory, load
// will read that.
func (w *Writer) goOn(open *crypto.Opener, page []byte) {
	shown := w.shows.prefix()
	if w.copied == 0 || open == nil || shown-w.copied != int64(len(page)) {
		return
	}
	if len(page) > 0 {
		c := w.b.writes.mem.tryGet(small)
		if c == nil {
			return
		}
		buf, _ := w.buffer(w.copied)
		buf.install(0, c)
		if _, err := buf.writeAt(w.b.ctx, page, 0); err != nil {
			return
		}
	}
	w.splice = &splice{open: open, replaced: replaced(w.base, w.copied)}
	w.loaded = shown
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shows, w.unread = upTo(w.copied), false
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
