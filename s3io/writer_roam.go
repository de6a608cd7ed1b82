package s3io

import (
	"slices"
	"sort"
)

// segmentSize is how much of a file one place takes that a roaming Writer holds.
const segmentSize = 4 << 20

// roam lets the file be written anywhere from now on: what is held lies over the
// base. It is false where something was sent that is held no more.
func (w *Writer) roam() bool {
	if w.roams || len(w.lost) > 0 {
		return w.roams
	}
	w.halt()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bufs, w.head, w.sent = slices.DeleteFunc(w.held(), func(p *pages) bool {
		if len(p.have) > 0 {
			return false
		}
		p.release()
		return true
	}), nil, nil
	w.roams, w.unread, w.splice = true, false, nil
	w.copied, w.start, w.next = 0, 0, 1
	return true
}

// segment returns the place of off, made if there is none.
func (w *Writer) segment(off int64) *pages {
	i := sort.Search(len(w.bufs), func(i int) bool { return off < w.bufs[i].from+w.bufs[i].size })
	from := off - off%segmentSize
	to := from + segmentSize
	if i < len(w.bufs) {
		if next := w.bufs[i]; next.from <= off {
			return next
		}
		to = min(to, w.bufs[i].from)
	}
	if i > 0 {
		from = max(from, w.bufs[i-1].from+w.bufs[i-1].size)
	}
	p := w.b.writes.newPages(from, to-from, &w.mu)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bufs = slices.Insert(w.bufs, i, p)
	return p
}

// stay has nobody wait for the memory of what is to be sent again: before that,
// memory may be needed.
func (w *Writer) stay() {
	for _, p := range w.held() {
		p.stay()
	}
}

// park moves pages that were sent out of memory, as far as there is room elsewhere.
// Until it is done nobody but readers touches them.
func (w *Writer) park(p *pages) {
	p.spill()
	close(p.parked)
}

// roomy says whether one more part may be kept, and makes room for it: half of the
// spool is left to what is not anywhere else.
func (w *Writer) roomy() bool {
	for w.b.writes.spool.crowded() {
		if !w.drop() {
			return false
		}
	}
	return true
}

// drop makes room in the spool: what was sent and is only kept is lost.
func (w *Writer) drop() bool {
	if len(w.sent) == 0 {
		return false
	}
	p := w.sent[0]
	<-p.parked // every request ends
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = w.sent[1:]
	w.lost = w.lost.add(p.from, p.from+p.size)
	p.release()
	return true
}
