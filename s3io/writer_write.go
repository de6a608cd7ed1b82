package s3io

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// WriteAt copies p to off. A gap that stays open reads as zeros. ErrNotHeld says
// that off lies in what was sent and is held no more: after a Commit it can be
// written. Beyond what S3 can store it is TooLarge; without room in memory and
// spool NoSpace. It returns how much it took. ctx only ends the wait for room,
// with Kind Interrupted.
func (w *Writer) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := w.lock(ctx); err != nil {
		return 0, err
	}
	defer w.unlock()
	if err := w.ready(off, int64(len(p))); err != nil {
		return 0, err
	}
	if w.unread && off < w.shows.prefix() && w.shows.prefix() >= minPart {
		w.roam()
	}
	if err := w.load(ctx); err != nil {
		return 0, w.refused(ctx, err)
	}
	var done int
	for done < len(p) {
		n, err := w.writeSome(ctx, p[done:], off+int64(done))
		done += n
		if n > 0 {
			w.grow(off + int64(done))
		}
		if err != nil {
			return done, w.refused(ctx, err)
		}
	}
	return done, nil
}

// ready refuses what can never be stored, and everything after an error.
func (w *Writer) ready(off, n int64) error {
	if err := w.Err(); err != nil {
		return err
	}
	if off < 0 {
		return &Error{Kind: Other, Op: "write", Key: w.key, Err: fmt.Errorf("negative offset %d", off)}
	}
	if limit := w.b.writes.parts.limit(w.next-1, w.start); off > limit-n {
		return &Error{Kind: TooLarge, Op: "write", Key: w.key,
			Err: fmt.Errorf("%d bytes at %d: with S3's %d parts this file can have %d bytes", n, off, maxParts, limit)}
	}
	return w.hollow(off)
}

// grow notes that bytes up to end were written.
func (w *Writer) grow(end int64) {
	w.state.Lock()
	defer w.state.Unlock()
	w.size, w.written = max(w.size, end), true
}

// refused says what an error of pages or load means to a caller. Only those
// that cost accepted bytes stick.
func (w *Writer) refused(ctx context.Context, err error) error {
	var known *Error
	switch {
	case errors.Is(err, ErrNotHeld):
		return err
	case errors.Is(err, errSpoolFull):
		return noRoom(w.key, err)
	case ctx.Err() != nil:
		return w.interrupted(ctx.Err())
	case errors.As(err, &known):
		return err
	}
	err = &Error{Kind: Other, Op: "buffer", Key: w.key, Err: err}
	w.fail(err)
	return err
}

// noRoom is what errSpoolFull means to a caller.
func noRoom(key string, err error) error {
	return &Error{Kind: NoSpace, Op: "buffer", Key: key, Err: err, Hint: "raise --spool-size, or free space in --spool-dir"}
}

// writeSome writes the bytes of p that fall into one part.
func (w *Writer) writeSome(ctx context.Context, p []byte, off int64) (int, error) {
	buf, err := w.place(off)
	if err != nil {
		return 0, err
	}
	at := off - buf.from
	n, err := buf.writeAt(ctx, p[:min(int64(len(p)), buf.size-at)], at)
	if !w.roams {
		w.turn()
	}
	return n, err
}

// place returns what holds off, or is going to.
func (w *Writer) place(off int64) (*pages, error) {
	switch {
	case w.roams:
		return w.segment(off), nil
	case off >= w.start && w.follows(off):
		buf, _ := w.buffer(off)
		return buf, nil
	case w.head != nil && off < w.head.size:
		return w.head, nil
	case w.roam():
		return w.segment(off), nil
	case off < w.start || off-w.end() > sentGap:
		return nil, ErrNotHeld
	}
	err := w.fill(off)
	if w.end() > w.Size() { // zeros that are sent are part of the file
		w.grow(w.end())
	}
	buf, _ := w.buffer(off)
	return buf, err
}

// follows reports whether a write at off can be a matter of order.
func (w *Writer) follows(off int64) bool {
	end := w.end()
	return off <= end || off-end <= window &&
		!slices.ContainsFunc(w.bufs, func(p *pages) bool { return len(p.have) > maxGaps })
}

// end returns up to where the file is written without a gap.
func (w *Writer) end() int64 {
	if len(w.bufs) == 0 {
		return max(w.start, w.shows.prefix())
	}
	return max(w.start+w.bufs[0].have.prefix(), w.shows.prefix())
}

// fill writes zeros wherever nothing was written below to. It is not
// interrupted: zeros above the size must not be left in a part that is sent.
func (w *Writer) fill(to int64) error {
	for off := w.end(); off < to; off = w.end() {
		buf, at := w.buffer(off)
		until := buf.have.firstFrom(at, min(buf.size, at+to-off))
		if err := buf.zero(w.b.ctx, at, until); err != nil {
			return err
		}
		w.turn()
	}
	return nil
}

// buffer returns the buffer for off, which is not below start, and off's place
// in it.
func (w *Writer) buffer(off int64) (*pages, int64) {
	from := w.start
	for i := 0; ; i++ {
		if i == len(w.bufs) {
			s := w.b.writes
			buf := s.newPages(from, s.parts.size(w.next+int32(i)), &w.mu)
			buf.spare, buf.drop = w.spare, w.drop
			w.mu.Lock()
			w.bufs = append(w.bufs, buf)
			w.mu.Unlock()
		}
		if off < from+w.bufs[i].size {
			return w.bufs[i], off - from
		}
		from += w.bufs[i].size
	}
}

// spare makes memory when there is none to wait for: the first part, of which
// little use is made before the commit, goes to the spool.
func (w *Writer) spare() bool { return w.head != nil && w.head.spill() }

// turn moves on where the part that is being filled is full: the first one is
// kept, the others are sent.
func (w *Writer) turn() {
	for len(w.bufs) > 0 && w.bufs[0].have.prefix() == w.bufs[0].size {
		full, then := w.bufs[0], only
		if w.keeps.Load() && w.roomy() {
			then = parked
		}
		w.mu.Lock()
		w.bufs = w.bufs[1:]
		w.start += full.size
		switch {
		case w.next == 1:
			w.head = full
		case then == parked:
			full.parked = make(chan struct{})
			w.sent = append(w.sent, full)
		default:
			w.lost = w.lost.add(full.from, full.from+full.size)
		}
		w.mu.Unlock()
		if w.next > 1 {
			w.session().send(w.next, full, then)
		}
		w.next++
	}
}

// session returns the upload under way. It starts one where there is none,
// with the attributes known by now, and the copy of the base.
func (w *Writer) session() *session {
	w.state.Lock()
	defer w.state.Unlock()
	if w.up == nil {
		w.up = newSession(w, w.attrsLocked(), w.splice)
		for i := range w.next - 1 {
			if w.copied > 0 {
				from, to := pieceOf(w.copied, w.unit(), w.next-1, i)
				w.up.copy(i+1, *w.base, piece{from: from, to: to})
			}
		}
	}
	return w.up
}
