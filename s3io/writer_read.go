package s3io

import (
	"fmt"
	"io"
	"sort"
)

// ReadAt reads what the file has now. What lies in the base alone is read by
// fromBase, once for each run, and no lock is held meanwhile. What was sent and is
// held nowhere is ErrNotHeld: Commit, and read the object. It returns io.EOF at
// the end.
func (w *Writer) ReadAt(p []byte, off int64, fromBase func(base Object, p []byte, off int64) error) (int, error) {
	for {
		n, base, missing, err := w.readHeld(p, off)
		if err != nil && err != io.EOF {
			return 0, err
		}
		var failed error
		for _, x := range missing {
			if failed = fromBase(*base, p[x.from-off:x.to-off], x.from); failed != nil {
				break
			}
		}
		if failed == nil {
			return n, err
		}
		if !w.rebased(base, failed) {
			return 0, failed
		}
	}
}

// rebased says whether base, which could not be read, is the base no more. Where it
// is gone a commit of our own may have replaced it, which is waited for.
func (w *Writer) rebased(base *Object, failed error) bool {
	if kind := KindOf(failed); kind == Stale || kind == NotExist {
		w.op <- struct{}{}
		defer w.unlock()
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.base != base
}

// readHeld reads what is held into p, and returns how much of it is in the file
// and what is missing there of base.
func (w *Writer) readHeld(p []byte, off int64) (n int, base *Object, missing spans, err error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	w.state.Lock()
	size, err := w.size, w.err
	w.state.Unlock()
	if err != nil {
		return 0, nil, nil, err
	}
	end := max(off, min(off+int64(len(p)), size))
	if end < off+int64(len(p)) {
		err = io.EOF
	}
	p = p[:end-off]
	if len(w.lost.within(off, end)) > 0 {
		return 0, nil, nil, ErrNotHeld
	}
	missing, failed := w.collectLocked(p, off)
	if failed != nil {
		return 0, nil, nil, failed
	}
	return len(p), w.base, missing, err
}

// collectLocked reads what is held into p, all of which is in the file, and returns
// what is missing there of base. The caller has mu.
func (w *Writer) collectLocked(p []byte, off int64) (missing spans, err error) {
	clear(p) // what nobody has written reads as zeros
	end := off + int64(len(p))
	var found spans
	for _, buf := range w.overlapping(off, end) {
		for _, x := range buf.have.within(off-buf.from, end-buf.from) {
			from, to := x.from+buf.from, x.to+buf.from
			if err := buf.readAtLocked(p[from-off:to-off], x.from); err != nil {
				return nil, fmt.Errorf("read back what was written to %q: %w", w.key, err)
			}
			found = found.add(from, to)
		}
	}
	return w.shows.within(off, end).minus(found), nil
}

// overlapping returns what is held around [from, to), in order. The caller has op
// or mu.
func (w *Writer) overlapping(from, to int64) []*pages {
	all := w.held()
	i := sort.Search(len(all), func(i int) bool { return all[i].from+all[i].size > from })
	j := sort.Search(len(all), func(i int) bool { return all[i].from >= to })
	return all[i:max(i, j)]
}

// held returns all that is held, in the order of the file. The caller has op or mu.
func (w *Writer) held() []*pages {
	if w.head == nil && len(w.sent) == 0 {
		return w.bufs
	}
	var all []*pages
	if w.head != nil {
		all = append(all, w.head)
	}
	return append(append(all, w.sent...), w.bufs...)
}
