package s3io

import "slices"

// spans are the byte ranges that were written, sorted, apart from each other.
// A file that is written in order has one.
type spans []span

// span is the range [from, to), from < to.
type span struct{ from, to int64 }

// add returns s with [from, to) in it; it may change s in place.
func (s spans) add(from, to int64) spans {
	if from >= to {
		return s
	}
	if n := len(s); n > 0 && s[n-1].from <= from && from <= s[n-1].to { // in order
		s[n-1].to = max(s[n-1].to, to)
		return s
	}
	i, _ := slices.BinarySearchFunc(s, from, func(x span, v int64) int { // first that touches
		if x.to < v {
			return -1
		}
		return 1
	})
	j := i
	for ; j < len(s) && s[j].from <= to; j++ {
		from, to = min(from, s[j].from), max(to, s[j].to)
	}
	return slices.Replace(s, i, j, span{from, to})
}

// cut returns s without what lies at and above end.
func (s spans) cut(end int64) spans {
	for n := len(s); n > 0; n-- {
		if last := &s[n-1]; last.from < end {
			last.to = min(last.to, end)
			return s[:n]
		}
	}
	return nil
}

// upTo returns the span of n bytes from 0.
func upTo(n int64) spans { return spans(nil).add(0, n) }

// within returns what of s lies in [from, to).
func (s spans) within(from, to int64) spans {
	var in spans
	for _, x := range s {
		in = in.add(max(x.from, from), min(x.to, to))
	}
	return in
}

// minus returns what of s is not in t.
func (s spans) minus(t spans) spans {
	var left spans
	for _, x := range s {
		for len(t) > 0 && t[0].to <= x.from {
			t = t[1:]
		}
		for _, y := range t {
			if y.from >= x.to {
				break
			}
			left = left.add(x.from, y.from)
			x.from = max(x.from, y.to)
		}
		left = left.add(x.from, x.to)
	}
	return left
}

// total returns how many bytes s has.
func (s spans) total() (n int64) {
	for _, x := range s {
		n += x.to - x.from
	}
	return n
}

// prefix returns how many bytes from 0 are there without a gap.
func (s spans) prefix() int64 {
	if len(s) > 0 && s[0].from == 0 {
		return s[0].to
	}
	return 0
}

// covers says whether all of [from, to) is there.
func (s spans) covers(from, to int64) bool {
	for _, x := range s {
		if x.from <= from && to <= x.to {
			return true
		}
	}
	return from >= to
}

// touches says whether any of [from, to) is there.
func (s spans) touches(from, to int64) bool {
	for _, x := range s {
		if x.from < to && from < x.to {
			return true
		}
	}
	return false
}

// firstFrom returns the begin of the first span that lies above off, or limit.
func (s spans) firstFrom(off, limit int64) int64 {
	for _, x := range s {
		if x.from > off {
			return min(x.from, limit)
		}
	}
	return limit
}
