package s3io

import (
	"context"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/crypto"
)

// Bounds of the commit of what was written anywhere.
const (
	maxPatchedPut = 16 << 20 // bytes of a file that is sent whole in one request rather than spliced
	assembling    = 4        // parts that are put together side by side
	readThrough   = 1 << 20  // bytes that are read from the base only because both sides are
)

// storePatched stores what lies over the base, and copies the rest of it.
func (w *Writer) storePatched(a Attrs) (Object, Attrs, error) {
	size := w.Size()
	if w.uploading() {
		up := w.session()
		o, err := w.complete(up, size)
		return o, up.attrs, err
	}
	if len(w.shows) > 0 && w.base.Form != Sealed && w.b.seals(w.key) {
		return Object{}, a, foreign("change", w.key, crypto.ErrForeign)
	}
	var r *Reader
	if w.base != nil {
		r = w.b.NewReader(*w.base)
		defer r.Close()
	}
	if size <= min(maxPatchedPut, max(w.b.writes.room(), minPart)) {
		o, err := w.putPatched(r, size, a)
		return o, a, err
	}
	parts, sp, err := w.plan(r, size)
	if err != nil {
		return Object{}, a, err
	}
	w.splice = sp
	up := w.session()
	if err := w.sendPatched(up, r, parts); err != nil {
		up.stop(err)
	}
	up.whole = true
	o, err := w.complete(up, size)
	return o, up.attrs, err
}

// putPatched stores a small file in one request. It is held on, as the beginning
// of a stream, if it is small enough and there is plenty of memory.
func (w *Writer) putPatched(r *Reader, size int64, a Attrs) (Object, error) {
	s := w.b.writes
	used, _ := s.mem.inUse()
	hold := size < minPart && used <= s.mem.total/2
	p := s.newPages(0, s.parts.size(1), new(sync.RWMutex))
	// Room first: a wait for it with an answer at hand would keep a connection
	// from the uploads that have to end before there is room.
	err := errScarce
	if hold {
		err = p.reserve(w.b.ctx, 0, size)
	}
	if err != nil {
		p.release()
		hold = false
		p, err = s.newPart(w.b.ctx, 0, size)
	}
	if err == nil {
		err = w.assemble(w.b.ctx, r, p, size)
	}
	var o Object
	if err == nil {
		o, err = w.b.putPages(w.b.ctx, w.key, []*pages{p}, a, w.cond)
	}
	if err != nil || !hold {
		p.release()
		return o, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropLocked()
	p.mu, p.spare, p.drop = &w.mu, w.spare, w.drop
	w.bufs, w.shows, w.roams = []*pages{p}, nil, false
	return o, nil
}

// newPart returns the place for n bytes of a file from from on, which are about to be
// sent: it needs no room any more that might not be there.
func (s *writes) newPart(ctx context.Context, from, n int64) (*pages, error) {
	p := s.newPages(from, n, new(sync.RWMutex))
	p.mem, p.viaSpool = s.joint, false // pages stay where they are
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return p, ctx.Err()
	}
	err := p.reserve(ctx, 0, n)
	if err == nil {
		p.leave()
	}
	return p, err
}

// room returns how many bytes of a part newPart finds in memory, whatever else goes on.
func (s *writes) room() int64 {
	return (s.joint.total/s.joint.sizes[large] - 1) * largeChunk // small chunks take a little more
}

// plan says which parts make the file, and how those that are sent join the others
// of a sealed base. More than half of that is not spliced: it is sealed anew.
func (w *Writer) plan(r *Reader, size int64) ([]piece, *splice, error) {
	p := plan{size: size, unit: w.unit(), ends: true, sched: w.b.writes.parts, room: w.b.writes.room()}
	var same spans
	if w.copies(w.base) {
		same = w.unchanged(0, size)
	}
	if !w.b.seals(w.key) {
		return p.pieces(same), nil, nil
	}
	p.tail = true
	if p.ends = w.base != nil && w.base.Size == size; !p.ends && len(same) > 0 {
		same = same.cut(regular(w.base))
	}
	parts := p.pieces(same)
	var frames int64 // that are copied
	for _, x := range parts {
		if x.copied {
			frames += (x.to - x.from) / frameSize
		}
	}
	if frames == 0 || sent(parts) > size/2 || replaced(w.base, frames*frameSize) > maxReplaced {
		return p.pieces(nil), nil, nil
	}
	open, err := w.join(w.b.ctx, r, same[0].from)
	if err != nil {
		return nil, nil, err
	}
	return parts, &splice{open: open, replaced: replaced(w.base, frames*frameSize)}, nil
}

// unchanged returns what of [from, to) is as the base has it.
func (w *Writer) unchanged(from, to int64) spans {
	var changed spans
	for _, p := range w.overlapping(from, to) {
		for _, x := range p.have {
			changed = changed.add(p.from+x.from, p.from+x.to)
		}
	}
	return w.shows.within(from, to).minus(changed)
}

// sendPatched gives up all parts.
func (w *Writer) sendPatched(up *session, r *Reader, parts []piece) error {
	g, ctx := errgroup.WithContext(up.ctx)
	g.SetLimit(assembling)
	for i, x := range parts {
		n := int32(i + 1)
		if x.copied {
			up.copy(n, *w.base, x)
			continue
		}
		g.Go(func() error {
			p, err := w.b.writes.newPart(ctx, x.from, x.to-x.from)
			if err == nil {
				err = w.assemble(ctx, r, p, x.to-x.from)
			}
			if err != nil {
				p.release()
				return err
			}
			then := done
			if x.final {
				then = closing
			}
			up.send(n, p, then)
			return nil
		})
	}
	return g.Wait()
}

// assemble fills the first n bytes of p, for which there is room, with what the file
// has there.
func (w *Writer) assemble(ctx context.Context, r *Reader, p *pages, n int64) error {
	lacks := w.unchanged(p.from, p.from+n)
	for len(lacks) > 0 {
		k := 1
		for k < len(lacks) && lacks[k].from-lacks[k-1].to <= readThrough {
			k++
		}
		if err := readRuns(ctx, r, p, lacks[:k]); err != nil {
			return err
		}
		lacks = lacks[k:]
	}
	if err := w.overlay(ctx, p, n); err != nil {
		return err
	}
	for at := p.have.prefix(); at < n; at = p.have.prefix() {
		if err := p.zero(ctx, at, p.have.firstFrom(at, n)); err != nil {
			return err
		}
	}
	return nil
}

// readRuns reads runs of the base into p by one request.
func readRuns(ctx context.Context, r *Reader, p *pages, runs spans) error {
	at := runs[0].from
	from := r.stream(ctx, at, runs[len(runs)-1].to-at)
	defer from.close()
	for _, x := range runs {
		if _, err := io.CopyN(io.Discard, from, x.from-at); err != nil {
			return err
		}
		if err := p.readFrom(ctx, from, x.from-p.from, x.to-x.from); err != nil {
			return err
		}
		at = x.to
	}
	return nil
}

// overlay copies what is held of the first n bytes of p to it.
func (w *Writer) overlay(ctx context.Context, p *pages, n int64) error {
	scratch := make([]byte, frameSize)
	for _, buf := range w.overlapping(p.from, p.from+n) {
		for _, x := range buf.have.within(p.from-buf.from, p.from+n-buf.from) {
			for at := x.from; at < x.to; {
				to := buf.from + at - p.from
				k := min(x.to-at, frameSize-to%frameSize)
				w.mu.RLock()
				err := buf.readAtLocked(scratch[:k], at)
				w.mu.RUnlock()
				if err == nil {
					_, err = p.writeAt(ctx, scratch[:k], to)
				}
				if err != nil {
					return err
				}
				at += k
			}
		}
	}
	return nil
}
