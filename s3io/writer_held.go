package s3io

import (
	"context"
	"fmt"
	"io"
)

// ReadAt reads what the Writer holds; bytes that are in S3 alone are
// ErrNotHeld: Commit, and read the object. It returns io.EOF at the end.
func (w *Writer) ReadAt(p []byte, off int64) (int, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	w.state.Lock()
	size, err := w.size, w.err
	w.state.Unlock()
	if err != nil {
		return 0, err
	}
	var done int
	for done < len(p) && off < size {
		n, err := w.readSomeLocked(p[done:min(int64(len(p)), int64(done)+size-off)], off)
		if err != nil {
			return done, err
		}
		done += n
		off += int64(n)
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// readSomeLocked reads from one place, and returns how much it did.
func (w *Writer) readSomeLocked(p []byte, off int64) (int, error) {
	from, in := w.start, w.bufs
	switch {
	case off < w.baseLen:
		return 0, ErrNotHeld
	case off < w.start && (w.head == nil || off >= w.head.size):
		return 0, ErrNotHeld
	case off < w.start:
		from, in = 0, []*pages{w.head}
	}
	for _, buf := range in {
		if off < from+buf.size {
			p = p[:min(int64(len(p)), from+buf.size-off)]
			if err := buf.readAtLocked(p, off-from); err != nil {
				return 0, fmt.Errorf("read back what was written to %q: %w", w.key, err)
			}
			return len(p), nil
		}
		from += buf.size
	}
	clear(p) // the size was set beyond everything written
	return len(p), nil
}

// Truncate sets the size. It can fall to anything that is still held or lies in
// the base, and to 0; it can grow by at most 1 GiB of zeros, which cost
// nothing before they are committed. Anything else is ErrNotSequential, and
// beyond what S3 can store TooLarge. It waits for a commit under way.
func (w *Writer) Truncate(size int64) error {
	if err := w.lock(context.Background()); err != nil {
		return err
	}
	defer w.unlock()
	if err := w.ready(size, 0); err != nil {
		return err
	}
	switch was := w.Size(); {
	case size == was:
		return nil
	case size > was:
		if size-w.end() > maxHole {
			return ErrNotSequential
		}
	case !w.shorten(size):
		return ErrNotSequential
	}
	w.state.Lock()
	defer w.state.Unlock()
	w.size, w.written = size, true
	return nil
}

// shorten drops everything from size on, if what is before is known.
func (w *Writer) shorten(size int64) bool {
	switch {
	case size <= w.baseLen:
		w.forget()
		w.begin(w.base, size)
	case size >= w.start:
		w.cut(w.start, size)
	case w.head != nil && size <= w.head.size:
		w.restart()
		w.cut(0, size)
	case size == 0:
		w.forget()
		w.begin(nil, 0)
	default:
		return false
	}
	return true
}

// cut drops what the buffers, of which the first begins at from, hold beyond
// size.
func (w *Writer) cut(from, size int64) {
	var gone []*pages
	w.mu.Lock()
	for i, buf := range w.bufs {
		if from >= size {
			gone = append(gone, w.bufs[i:]...)
			w.bufs = w.bufs[:i]
			break
		}
		buf.have = buf.have.cut(size - from)
		from += buf.size
	}
	w.mu.Unlock()
	for _, buf := range gone {
		buf.release()
	}
}

// restart goes back to filling the first part, without what came after it.
func (w *Writer) restart() {
	head := w.head
	w.mu.Lock()
	gone := w.bufs
	w.bufs, w.head = []*pages{head}, nil
	w.start, w.next = 0, 1
	w.mu.Unlock()
	for _, buf := range gone {
		buf.release()
	}
	w.dropUpload()
}

// forget drops all buffers and the upload.
func (w *Writer) forget() {
	w.mu.Lock()
	gone := w.bufs
	if w.head != nil {
		gone = append(gone, w.head)
	}
	w.bufs, w.head = nil, nil
	w.mu.Unlock()
	for _, buf := range gone {
		buf.release()
	}
	w.dropUpload()
}

// dropUpload aborts the upload in the background.
func (w *Writer) dropUpload() {
	w.state.Lock()
	up := w.up
	w.up = nil
	w.state.Unlock()
	if up != nil {
		w.b.writes.background(w, func() { w.report(up.abort()) })
	}
}

// report logs an upload that could not be aborted: nobody waits for that, and
// the journal keeps it for the next mount.
func (w *Writer) report(err error) {
	if err != nil {
		w.b.log.Warn("an upload was left behind", "key", w.key, "error", err)
	}
}
