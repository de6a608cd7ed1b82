package fs

import (
	"hash/maphash"
	"time"
)

// The kernel asks for the attributes of all entries that it lists (READDIRPLUS),
// whether the program wants them or not, and to know them is a request for each.
// So in a directory of more than one page only the first page has them all. On
// later ones entries are given without, unless the first attributes are as good
// as new still, or a program has looked a name up: then it wants them, and those
// of the entries that follow are asked for side by side. To find that out in time
// one entry in the middle of the first page is given without attributes too.

// unaskedMost is how many entries get attributes that nobody is known to want,
// and mostHints how many entries a directory remembers that got none.
const (
	unaskedMost = knownObjects / 2
	mostHints   = 200_000
)

// wishes is what a dirHandle knows of the use of the attributes that it gives.
type wishes struct {
	since    time.Time // when the first were asked for
	withheld bool      // an entry was given without
	before   uint64    // dir.looked at that time
}

// withholds decides whether entry i of the batch, for which a request would have
// to be made, is given without its attributes.
func (h *dirHandle) withholds(i int) bool {
	u := &h.wishes
	if u.since.IsZero() {
		u.since = time.Now()
	}
	if u.withheld && h.d.looked.Load() != u.before {
		return false
	}
	switch {
	case h.first():
		if i != h.spared() {
			return false
		}
	case h.d.f.fresh(u.since) && h.pos < unaskedMost:
		return false
	}
	if !u.withheld {
		u.withheld, u.before = true, h.d.looked.Load()
	}
	if e := h.batch[i]; e.kind == isFile && e.name == e.component {
		h.d.hint(e.component)
	}
	return true
}

// first reports whether the batch is the first page.
func (h *dirHandle) first() bool { return h.pos-uint64(h.at) <= uint64(len(dots)) }

// spared is which entry of the first of several pages is given without attributes, to
// see whether they are wanted; -1 on others.
func (h *dirHandle) spared() int {
	if h.l.ended || !h.first() {
		return -1
	}
	return len(h.batch) / 2
}

// hints are hashes of the names that were listed as files and given without
// attributes. A program that reads all names and then looks at each costs one
// request for each so, and no second one that asks for a directory. A hint that is
// wrong costs a request more, no more than that.
type hints map[uint64]struct{}

var hintSeed = maphash.MakeSeed()

// hint notes a name.
func (d *dir) hint(component string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hints == nil {
		d.hints = make(hints)
	}
	if len(d.hints) < mostHints {
		d.hints[maphash.String(hintSeed, component)] = struct{}{}
	}
}

// hinted reports whether a name was noted, and forgets it: it is about to be known.
func (d *dir) hinted(component string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := maphash.String(hintSeed, component)
	_, ok := d.hints[h]
	if delete(d.hints, h); len(d.hints) == 0 {
		d.hints = nil // a map does not shrink
	}
	return ok
}
