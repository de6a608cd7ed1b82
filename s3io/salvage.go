package s3io

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// This file is about what becomes of the bytes of a Writer that cannot commit.

// Hold has the Writer keep what was written, and parts that could not be sent, when
// it fails, until Abort: for Salvage. Without it a failure frees memory and spool.
func (w *Writer) Hold() { w.holds.Store(true) }

// GiveUp ends all requests and refuses new ones: what is being committed fails, and
// only Salvage and Close are of use from then on. It does not wait.
func (b *Bucket) GiveUp() { b.cancel() }

// GivenUp says whether GiveUp was called.
func (b *Bucket) GivenUp() bool { return b.ctx.Err() != nil }

// ErrBase is returned by Salvage where fromBase failed: what was changed can be had
// without it.
var ErrBase = errors.New("read what was not changed")

// keep holds a part on that came to nothing. Nobody is to wait for its memory: the
// Writer itself may, and takes it back only then.
func (s *session) keep(p *pages) {
	p.stay()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsent = append(s.unsent, p)
}

// retake ends the upload, which is aborted in the background, and holds on to all
// that it has not sent. The caller has op.
func (w *Writer) retake(up *session) {
	if up != nil {
		up.stop(errAborted)
		up.running.Wait()
		w.mu.Lock()
		for _, p := range up.unsent {
			p.mu, p.parked = &w.mu, make(chan struct{})
			close(p.parked)
			w.sent = append(w.sent, p)
			w.lost = w.lost.minus(spans{{p.from, p.from + p.size}})
		}
		slices.SortFunc(w.sent, func(a, b *pages) int { return cmp.Compare(a.from, b.from) })
		w.mu.Unlock()
		up.unsent = nil
		w.b.writes.background(w, func() { w.report(up.abort()) })
	}
	w.stay()
}

// Extent is a run of bytes in a file, To excluded.
type Extent struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Remains says what Salvage has found of a file.
type Remains struct {
	Size int64    // of the file
	Kept []Extent // what was written out, one behind the other; whole is one of Size bytes
	Over []Extent // what was left out because it is in Base as well, unchanged
	Lost []Extent // what was sent, in an upload that will not be completed, and is held no more
	Base *Object  // nil if Over is empty
}

// Whole says whether all of the file was written out.
func (r Remains) Whole() bool { return len(r.Over) == 0 && len(r.Lost) == 0 }

// Salvage writes what the file has now to dst, also after a failure if Hold was
// called before. What is in the base alone is read by fromBase, or left out if that
// is nil. The error is ErrNotHeld where what was written was dropped already.
// Nothing of the Writer changes; it waits for a commit under way as long as ctx, and
// after a failure for requests that have not ended.
func (w *Writer) Salvage(ctx context.Context, dst io.Writer, fromBase func(base Object, p []byte, off int64) error) (Remains, error) {
	if err := w.lock(ctx); err != nil {
		return Remains{}, err
	}
	defer w.unlock()
	if w.Err() != nil {
		w.discard() // what fail has in the background may come later
	}
	if w.gone {
		return Remains{}, ErrNotHeld
	}
	r, over := w.remains()
	if fromBase == nil {
		r.Over, r.Base = over.extents(), w.base
	}
	r.Kept = upTo(r.Size).minus(w.lost).minus(spansOf(r.Over)).extents()
	chunk := make([]byte, frameSize)
	for _, x := range r.Kept {
		for at := x.From; at < x.To; {
			p := chunk[:min(x.To-at, frameSize)]
			if err := w.collect(p, at, fromBase); err != nil {
				return r, err
			}
			if _, err := dst.Write(p); err != nil {
				return r, err
			}
			at += int64(len(p))
		}
	}
	return r, ctx.Err()
}

// InBase returns how many bytes of the file are in its base alone.
func (w *Writer) InBase() int64 {
	w.mu.RLock()
	defer w.mu.RUnlock()
	_, over := w.remainsLocked()
	return over.total()
}

// remains says how large the file is, what of it is lost, and what is in the base
// alone.
func (w *Writer) remains() (Remains, spans) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.remainsLocked()
}

func (w *Writer) remainsLocked() (Remains, spans) {
	r := Remains{Size: w.Size()}
	r.Lost = w.lost.within(0, r.Size).extents()
	var held spans
	for _, buf := range w.held() {
		for _, x := range buf.have {
			held = held.add(buf.from+x.from, buf.from+x.to)
		}
	}
	return r, w.shows.within(0, r.Size).minus(held)
}

// collect fills p with what the file has at off.
func (w *Writer) collect(p []byte, off int64, fromBase func(base Object, p []byte, off int64) error) error {
	w.mu.RLock()
	missing, err := w.collectLocked(p, off)
	base := w.base
	w.mu.RUnlock()
	for _, x := range missing {
		if err != nil {
			break
		}
		if err = fromBase(*base, p[x.from-off:x.to-off], x.from); err != nil {
			err = fmt.Errorf("%w: %w", ErrBase, err)
		}
	}
	return err
}

func (s spans) extents() []Extent {
	var all []Extent
	for _, x := range s {
		all = append(all, Extent{x.from, x.to})
	}
	return all
}

func spansOf(all []Extent) spans {
	var s spans
	for _, x := range all {
		s = s.add(x.From, x.To)
	}
	return s
}
