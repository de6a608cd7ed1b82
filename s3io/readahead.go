package s3io

// slack is how far behind the front a read may start and still belong to the
// stream: the kernel's own read-ahead sends READs of up to 1 MiB in parallel,
// and they arrive slightly out of order. Blocks are kept for that long.
const slack = 4 << 20

// patience is how many reads elsewhere, without one of the stream between
// them, a stream survives: looking up a table of contents does not end it.
const patience = 2

// readAhead knows whether reads are sequential, and how far to fetch.
type readAhead struct {
	window int64 // bytes fetched ahead of front; 0 while reads are random
	front  int64 // the furthest that the stream's reads have come
	served int64 // bytes read by the stream since window last grew
	strays int   // reads elsewhere since the stream's last one
	last   int64 // end of the latest read, of the stream or not
}

// note takes a read of n bytes at off into account, in an object of size
// bytes. It reports whether the read belongs to a stream, and whether that is
// a new one.
func (a *readAhead) note(off, n, size int64) (stream, fresh bool) {
	near := off >= a.last-2*n && off <= a.last+2*n
	a.last = off + n
	switch {
	case a.window > 0 && off >= a.front-slack && off <= a.front+max(a.window, slack):
		a.strays = 0
		a.served += n
		if a.served >= a.window/2 {
			a.window, a.served = 2*a.window, 0
		}
	case near && off+n < size:
		*a = readAhead{window: firstAhead, last: a.last}
		fresh = true
	default:
		a.strays++
		return false, false
	}
	a.front = max(a.front, off)
	return true, fresh
}

// lost reports whether reads have left the stream for good.
func (a *readAhead) lost() bool { return a.window > 0 && a.strays > patience }

// stretch is a range of a file.
type stretch struct{ off, end int64 }

// missing returns what to fetch next at or behind pos, in an object of size
// bytes of which a read wants n at the front: whole units that has reports
// absent, as one GET. It returns an empty stretch where nothing is worth a GET:
// far ahead of the front it waits until a large one comes together.
func (a *readAhead) missing(pos, n, size int64, has func(unit int64) bool) stretch {
	target := min(size, a.front+max(a.window, n))
	for pos < target && has(pos/blockUnit) {
		pos = (pos/blockUnit + 1) * blockUnit
	}
	if pos >= target {
		return stretch{}
	}
	large := pos - pos%blockUnit + min(largestGet, max(blockUnit, a.window/4))
	s := stretch{pos, pos}
	for s.end < min(target, large) && !has(s.end/blockUnit) {
		s.end = min(size, (s.end/blockUnit+1)*blockUnit)
	}
	grows := s.end < min(size, large) && s.end >= target // as the front advances
	if grows && pos-a.front >= a.window/2 {
		return stretch{}
	}
	return s
}
