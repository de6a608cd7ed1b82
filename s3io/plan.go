package s3io

// A piece is a run of a file that one part of an upload has.
type piece struct {
	from, to int64
	copied   bool // from the base; else it is sent
	final    bool // the file ends with it, and so does the base where it is copied
}

// A plan says how a file that lies over a base becomes parts: what equals the base is
// copied where that is at least a part's minimum, and the rest is sent.
type plan struct {
	size  int64 // of the file
	unit  int64 // where parts can begin: frames, or any byte
	ends  bool  // the base ends where the file does: what is copied can end the file
	tail  bool  // the file has to end with a final frame, if only an empty one
	sched schedule
	room  int64 // bytes that there is memory for: no part that is sent has more, unless there were too many
}

// pieces returns the parts, in order, of a file of which same equals the base.
// Spans are cut to whole units, and short ones sent; longer ones too where there
// were too many parts otherwise.
func (p plan) pieces(same spans) []piece {
	for least := int64(minPart); ; least *= 2 {
		all := p.split(p.runs(same, least))
		if len(all) <= maxParts || least > p.size {
			return all
		}
	}
}

// runs alternates between what is sent and what is copied, which has least bytes at least.
func (p plan) runs(same spans, least int64) []piece {
	var runs []piece
	var pos int64
	for _, s := range same {
		from := (s.from + p.unit - 1) / p.unit * p.unit
		if from > pos { // what is sent before has to be a part
			from = max(from, pos+minPart)
		}
		to := s.to
		if to < p.size || !p.ends {
			to -= to % p.unit
		}
		if to-from < least {
			continue
		}
		if from > pos {
			runs = append(runs, piece{from: pos, to: from})
		}
		runs = append(runs, piece{from: from, to: to, copied: true, final: p.ends && to == p.size})
		pos = to
	}
	if pos < p.size || p.tail && (len(runs) == 0 || !runs[len(runs)-1].final) {
		runs = append(runs, piece{from: pos, to: p.size, final: true})
	}
	return runs
}

// split cuts runs into parts of whole units that differ by one at most.
func (p plan) split(runs []piece) []piece {
	var parts []piece
	for _, r := range runs {
		n := r.to - r.from
		most := max(min(p.sched.size(1), p.room/2), minPart, p.size/(maxParts/2))
		if r.copied {
			most = max(copyPiece, p.size/(maxParts/10))
		}
		k := max(n/min(most, p.sched.most()), 1, (n+p.sched.most()-1)/p.sched.most())
		units := n / p.unit
		for at, i := r.from, int64(0); i < k; i++ {
			to := r.from + units*(i+1)/k*p.unit
			if i == k-1 {
				to = r.to
			}
			parts = append(parts, piece{from: at, to: to, copied: r.copied, final: r.final && i == k-1})
			at = to
		}
	}
	return parts
}

// sent returns how many bytes of the pieces are not copied.
func sent(pieces []piece) (n int64) {
	for _, p := range pieces {
		if !p.copied {
			n += p.to - p.from
		}
	}
	return n
}
