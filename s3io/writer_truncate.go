package s3io

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"
)

// Truncate sets the size. What it grows by reads as zeros, which cost nothing
// before they are committed; TooLarge says that there would be too many of them.
// Where it falls into what was sent and is held nowhere, it is ErrNotHeld. It waits
// for a commit under way.
func (w *Writer) Truncate(size int64) error {
	return w.change(size, 0, func(was int64) (int64, error) {
		if size < was {
			return size, w.shorten(size)
		}
		return size, nil
	})
}

// Zero makes [off, off+n) read as zeros, as far as the file goes. ErrNotHeld is
// that of WriteAt, TooLarge that of Truncate. It waits for a commit under way.
func (w *Writer) Zero(off, n int64) error {
	return w.change(off, 0, func(was int64) (int64, error) {
		to := was
		if n < was-off {
			to = off + n
		}
		if off >= to {
			return was, nil
		}
		if !w.roam() {
			return was, ErrNotHeld
		}
		hole := spans{{off, to}}
		if err := w.bounded(w.zeros(was, hole), was); err != nil {
			return was, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.shows = w.shows.minus(hole)
		for _, buf := range w.bufs {
			buf.have = buf.have.minus(spans{{off - buf.from, to - buf.from}})
		}
		return was, nil
	})
}

// change calls f with the size and sets it to what it returns.
func (w *Writer) change(off, n int64, f func(size int64) (int64, error)) error {
	if err := w.lock(context.Background()); err != nil {
		return err
	}
	defer w.unlock()
	if err := w.ready(off, n); err != nil {
		return err
	}
	size, err := f(w.Size())
	if err != nil {
		return err
	}
	w.state.Lock()
	defer w.state.Unlock()
	w.size, w.written = size, true
	return nil
}

// hollow refuses a file of that size if too much of it was never written.
func (w *Writer) hollow(size int64) error {
	if size <= w.Size() {
		return nil
	}
	if w.roams {
		return w.bounded(w.zeros(size, nil), size)
	}
	return w.bounded(size-w.end(), size)
}

// zeros returns how much a file of that size that roams has that was never written,
// if hole is made.
func (w *Writer) zeros(size int64, hole spans) int64 {
	known := w.shows.minus(hole)
	for _, buf := range w.bufs {
		for _, x := range buf.have {
			for _, y := range (spans{{buf.from + x.from, buf.from + x.to}}).minus(hole) {
				known = known.add(y.from, y.to)
			}
		}
	}
	return size - known.total()
}

// bounded refuses more zeros before size than are worth sending.
func (w *Writer) bounded(zeros, size int64) error {
	if zeros <= maxZeros {
		return nil
	}
	return &Error{Kind: TooLarge, Op: "write", Key: w.key, Err: fmt.Errorf(
		"%s of zeros before %d: S3 has no holes, and kmsfs sends at most %s of them for one file",
		humanize.IBytes(uint64(zeros)), size, humanize.IBytes(maxZeros))}
}

// shorten drops everything from size on, if what is before is known.
func (w *Writer) shorten(size int64) error {
	switch {
	case size == 0 || !w.roams && size <= w.shows.prefix():
		w.begin(w.base, size)
	case w.roams || size >= w.start:
		w.cut(size)
	case len(w.lost.within(0, size)) > 0:
		return ErrNotHeld
	case w.head != nil && size <= w.head.size:
		w.restart()
		w.cut(size)
	default:
		w.mu.Lock()
		w.lost = nil // all of it lies behind
		w.mu.Unlock()
		w.roam()
		w.cut(size)
	}
	return nil
}

// cut drops what is held and shown beyond size.
func (w *Writer) cut(size int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shows = w.shows.cut(size)
	left := w.bufs[:0]
	for _, buf := range w.bufs {
		if buf.from >= size {
			buf.release()
			continue
		}
		buf.have = buf.have.cut(size - buf.from)
		left = append(left, buf)
	}
	w.bufs = left
}

// restart goes back to filling the first part, without what came after it.
func (w *Writer) restart() {
	w.halt()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, buf := range append(w.sent, w.bufs...) {
		buf.release()
	}
	w.bufs, w.head, w.sent, w.lost = []*pages{w.head}, nil, nil, nil
	w.start, w.next = 0, 1
}

// forget drops all that is held, and the upload.
func (w *Writer) forget() {
	w.halt()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropLocked()
}

func (w *Writer) dropLocked() {
	for _, buf := range w.held() {
		buf.release()
	}
	w.bufs, w.head, w.sent, w.lost = nil, nil, nil, nil
}

// halt ends the upload. When it returns nothing is sent any more of what is held;
// the rest is aborted in the background.
func (w *Writer) halt() {
	w.state.Lock()
	up := w.up
	w.up = nil
	w.state.Unlock()
	if up == nil {
		return
	}
	up.stop(errAborted) // what goes wrong from now on is no error of the file
	if len(w.sent) > 0 {
		up.running.Wait()
	}
	w.b.writes.background(w, func() { w.report(up.abort()) })
}

// report logs an upload that could not be aborted: nobody waits for that, and
// the journal keeps it for the next mount.
func (w *Writer) report(err error) {
	if err != nil {
		w.b.log.Warn("an upload was left behind", "key", w.key, "error", err)
	}
}
