package s3io

import (
	"context"
	"errors"
	"slices"
)

// This file is about the memory and the slots of the spool that pages take.

// reserve finds a place for [from, to), so that writing there, each page at
// once, waits for none.
func (p *pages) reserve(ctx context.Context, from, to int64) error {
	return p.dropping(func() error { return p.reserveSome(ctx, from, to) })
}

func (p *pages) reserveSome(ctx context.Context, from, to int64) error {
	for i := int(from / frameSize); int64(i)*frameSize < to; i++ {
		if !p.at(i).isNone() {
			continue
		}
		if !p.viaSpool || int64(i+1)*frameSize > to {
			if err := p.remember(ctx, i); !errors.Is(err, errScarce) {
				if err != nil {
					return err
				}
				continue
			}
		}
		s, err := p.spool.alloc(ctx)
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.growLocked(i + 1)
		p.table[i] = page{slot: s}
		p.mu.Unlock()
	}
	return nil
}

// dropping does f again as long as that finds no room, and some can be made.
func (p *pages) dropping(f func() error) error {
	for {
		err := f()
		if !errors.Is(err, errSpoolFull) || p.drop == nil || !p.drop() {
			return err
		}
	}
}

// spill moves all pages to the spool and frees their memory. It does nothing
// when the spool has no room, and says whether memory was freed.
func (p *pages) spill() bool {
	if len(p.chunks) == 0 || p.left {
		return false
	}
	table := slices.Clone(p.table)
	var moved []slot
	for i, at := range table {
		if at.mem == nil {
			continue
		}
		s, ok := p.spool.tryAlloc()
		if ok {
			moved = append(moved, s)
		}
		if !ok || p.spool.write(s, p.held(at)) != nil {
			p.spool.release(moved, false)
			return false
		}
		table[i].mem, table[i].slot = nil, s
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table = table
	for _, c := range p.chunks {
		c.release()
	}
	p.chunks = nil
	return true
}

// leave promises that release follows without waiting for memory or spool.
func (p *pages) leave() {
	if p.left {
		return
	}
	p.left = true
	for _, c := range p.chunks {
		c.leave()
	}
	p.spool.leave(len(p.slots()))
}

// stay takes the promise of leave back.
func (p *pages) stay() {
	if !p.left {
		return
	}
	p.left = false
	for _, c := range p.chunks {
		c.stay()
	}
	p.spool.stay(len(p.slots()))
}

// release gives all memory and spool back. Nobody reads p any more.
func (p *pages) release() {
	p.spool.release(p.slots(), p.left)
	for _, c := range p.chunks {
		c.release()
	}
	p.table, p.chunks, p.have, p.left = nil, nil, nil, false
}

func (p *pages) slots() []slot {
	var all []slot
	for _, at := range p.table {
		if at.slot != 0 {
			all = append(all, at.slot)
		}
	}
	return all
}
