package s3io

import "context"

// extendLocked starts GETs until the window is fetched; n is what the present
// read wants. It returns false when memory ran out first.
func (r *Reader) extendLocked(n int64) bool {
	has := func(unit int64) bool { return r.blocks[unit] != nil }
	for pos := r.ahead.front; ; {
		want := r.ahead.missing(pos, n, r.object.Size, has)
		if want.off == want.end {
			return true
		}
		if pos = r.startLocked(want); pos < want.end {
			return false
		}
	}
}

// startLocked starts one GET for want, or for the part of it that there is
// memory for, and returns where that ends.
func (r *Reader) startLocked(want stretch) int64 {
	f := &fetch{}
	pos := want.off
	for pos < want.end {
		size := min((pos/blockUnit+1)*blockUnit, want.end) - pos
		c := large
		if size <= smallChunk {
			c = small
		}
		mem := r.pool.mem.tryGet(c)
		if mem == nil {
			break
		}
		k := &block{off: pos, size: size, mem: mem, fetch: f, users: 1}
		f.blocks = append(f.blocks, k)
		r.blocks[pos/blockUnit] = k
		pos += size
	}
	if f.live = len(f.blocks); f.live > 0 {
		var ctx context.Context
		ctx, f.cancel = context.WithCancel(r.ctx)
		r.fetches.Go(func() { r.run(ctx, f) })
	}
	return pos
}

// run fills f's blocks in their order. Where it gives up, the stream ends:
// those who need the bytes ask for them again, and learn why if that is futile.
func (r *Reader) run(ctx context.Context, f *fetch) {
	defer f.cancel()
	full, err := r.download(ctx, f)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && f.live > 0 {
		r.dropLocked()
	}
	for _, k := range f.blocks[full:] {
		k.leave()
	}
}

// download makes the GET and returns how many blocks it filled; these it has
// left, so that they can be freed before the others are full.
func (r *Reader) download(ctx context.Context, f *fetch) (full int, err error) {
	select {
	case r.pool.gets <- struct{}{}:
		defer func() { <-r.pool.gets }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	ctx, d := r.bucket.reading(ctx)
	defer d.stop()
	last := f.blocks[len(f.blocks)-1]
	s := r.source(f.blocks[0].off, last.off+last.size)
	defer s.close()
	for _, k := range f.blocks {
		for filled := int64(0); filled < k.size; {
			n, err := s.read(ctx, k.mem.bytes()[filled:k.size])
			if err != nil {
				return full, err
			}
			filled += int64(n)
			r.arrived(k, filled)
		}
		full++
	}
	return full, nil
}

// arrived publishes that k holds filled bytes by now.
func (r *Reader) arrived(k *block, filled int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k.filled = filled
	k.announce()
	if filled == k.size {
		k.leave()
	}
}
