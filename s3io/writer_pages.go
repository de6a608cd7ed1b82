package s3io

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/kmsfs/kmsfs/crypto"
)

// pages holds the bytes of one part until they are uploaded, each page in
// memory or, under a key of this process, in the spool. Its pages are the
// spool's frames, and those of an envelope object.
//
// One goroutine at a time changes it, and holds mu only while bytes or table
// change; others may read under mu meanwhile. Once it is handed to an upload
// nothing changes any more but that its pages are sealed where they are.
type pages struct {
	mem      *budget
	spool    *spool
	from     int64       // where in the file they begin
	size     int64       // most bytes that it takes
	viaSpool bool        // pages leave memory as soon as they are full
	spare    func() bool // called when memory is scarce; says whether it freed some
	drop     func() bool // called when the spool is full; says whether it freed some

	mu     *sync.RWMutex // guards the fields below; the writer's
	table  []page
	chunks []*chunk // all memory that table points into
	have   spans    // bytes that were written
	left   bool     // leave was called

	parked chan struct{} // closed when they were sent, and are only kept
}

// page is where frameSize bytes are; the zero page is nowhere.
type page struct {
	mem    []byte // with the budget's room
	slot   slot
	sealed int32          // plaintext bytes of the frame that the page is; 0: it is plain
	by     *crypto.Opener // of that frame
}

func (p page) isNone() bool { return p.mem == nil && p.slot == 0 }

// pagesPerLarge is how many pages a large chunk holds. The first of them are
// in small chunks, so that a small file takes little memory.
const pagesPerLarge = largeChunk / frameSize

// newPages returns the place for size bytes of a file from from on.
func (s *writes) newPages(from, size int64, mu *sync.RWMutex) *pages {
	return &pages{mem: s.mem, spool: s.spool, from: from, size: size, viaSpool: size > s.inCore, mu: mu}
}

// writeAt copies b to off; [off, off+len(b)) lies within size. It returns how
// many bytes it took, and why not all: ctx's error, errSpoolFull where memory
// and spool are used up, or an error of the spool.
func (p *pages) writeAt(ctx context.Context, b []byte, off int64) (int, error) {
	var done int
	for done < len(b) {
		i, in := int(off/frameSize), int(off%frameSize)
		n := min(len(b)-done, frameSize-in)
		err := p.dropping(func() error { return p.writePage(ctx, i, in, b[done:done+n]) })
		if err != nil {
			return done, err
		}
		done += n
		off += int64(n)
	}
	return done, nil
}

// writePage copies b into page i at in: to where the page is, else to memory,
// else, where memory is scarce or of no use, to the spool.
func (p *pages) writePage(ctx context.Context, i, in int, b []byte) error {
	at := p.at(i)
	if at.isNone() && !(p.viaSpool && len(b) == frameSize) {
		switch err := p.remember(ctx, i); {
		case err == nil:
			at = p.at(i)
		case !errors.Is(err, errScarce):
			return err
		}
	}
	var moved slot // in the spool, where a change is a new frame
	var err error
	if at.mem == nil {
		moved, err = p.replaced(ctx, i, in, b)
	} else {
		err = p.unseal(i)
	}
	if err != nil {
		return err
	}
	from := int64(i) * frameSize
	p.mu.Lock()
	if at.mem == nil {
		p.growLocked(i + 1)
		p.table[i] = page{slot: moved}
	} else {
		copy(p.plain(at)[in:], b)
	}
	p.have = p.have.add(from+int64(in), from+int64(in+len(b)))
	p.mu.Unlock()
	switch {
	case at.slot != 0 && at.slot != moved:
		p.spool.release([]slot{at.slot}, false)
	case p.viaSpool && at.mem != nil && p.have.covers(from, min(from+frameSize, p.size)):
		p.park(i)
	}
	return nil
}

// at returns page i.
func (p *pages) at(i int) page {
	if i < len(p.table) {
		return p.table[i]
	}
	return page{}
}

// plain returns the bytes of a page in memory that is not sealed.
func (p *pages) plain(at page) []byte {
	return at.mem[p.mem.room.head:][:frameSize]
}

// replaced returns a slot that holds page i, which is in the spool or nowhere,
// with b at in. A slot that was written stays as it is: readers never see half a
// frame, and a full disk costs nothing that was accepted before. Only what is put
// together for an upload, which nobody reads and which must not wait for room, is
// written over.
func (p *pages) replaced(ctx context.Context, i, in int, b []byte) (slot, error) {
	old := p.at(i)
	from := int64(i) * frameSize
	written := p.have.touches(from, from+frameSize) // else the slot, if any, is only reserved
	if in > 0 || written && len(b) < frameSize {
		frame := make([]byte, 0, p.spool.frame)
		if written {
			var err error
			if frame, err = p.content(i, frame); err != nil {
				return 0, err
			}
		}
		end := len(frame)
		frame = frame[:max(end, in+len(b))]
		clear(frame[end:])
		copy(frame[in:], b)
		b = frame
	}
	if old.slot != 0 && (!written || p.left) {
		return old.slot, p.spool.write(old.slot, b)
	}
	s, err := p.spool.alloc(ctx)
	if err != nil {
		return 0, err
	}
	if err := p.spool.write(s, b); err != nil {
		p.spool.release([]slot{s}, false)
		return 0, err
	}
	return s, nil
}

// park moves page i, which is full, plain and in a chunk of its own, to the
// spool. Where the spool is full or fails the page simply stays in memory.
func (p *pages) park(i int) {
	at := p.table[i]
	s, ok := p.spool.tryAlloc()
	if !ok {
		return
	}
	if p.spool.write(s, p.plain(at)) != nil {
		p.spool.release([]slot{s}, false)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table[i] = page{slot: s}
	k := slices.IndexFunc(p.chunks, func(c *chunk) bool { return &c.bytes()[0] == &at.mem[0] })
	p.chunks[k].release()
	p.chunks = slices.Delete(p.chunks, k, k+1)
}

// remember gives page i a place in memory, or returns errScarce.
func (p *pages) remember(ctx context.Context, i int) error {
	want := small
	if i >= pagesPerLarge && !p.viaSpool && !p.at(i-1).isNone() { // what is scattered takes little
		want = large
	}
	c, err := p.memory(ctx, want)
	if err == nil {
		p.install(i, c)
	}
	return err
}

// memory returns a chunk of class want, or a smaller one where that is scarce.
func (p *pages) memory(ctx context.Context, want class) (*chunk, error) {
	c, err := p.mem.get(ctx, want)
	if errors.Is(err, errScarce) && p.spare != nil && p.spare() {
		c, err = p.mem.get(ctx, want)
	}
	if errors.Is(err, errScarce) && want != small {
		c, err = p.mem.get(ctx, small)
	}
	return c, err
}

// install gives chunk c to page i and, if it is large, to the pages around it
// that have no place yet.
func (p *pages) install(i int, c *chunk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.chunks = append(p.chunks, c)
	unit := p.mem.room.unit()
	if c.class == small {
		p.growLocked(i + 1)
		p.table[i] = page{mem: c.bytes()[:unit:unit]}
		return
	}
	first := i - i%pagesPerLarge
	p.growLocked(first + pagesPerLarge)
	for k := range pagesPerLarge {
		if at := &p.table[first+k]; at.isNone() {
			at.mem = c.bytes()[k*unit : (k+1)*unit : (k+1)*unit]
		}
	}
}

func (p *pages) growLocked(n int) {
	if n > len(p.table) {
		p.table = append(p.table, make([]page, n-len(p.table))...)
	}
}

// zero writes zeros to [from, to).
func (p *pages) zero(ctx context.Context, from, to int64) error {
	zeros := make([]byte, min(to-from, frameSize))
	for from < to {
		n := min(to-from, frameSize-from%frameSize) // whole pages where possible
		if _, err := p.writeAt(ctx, zeros[:n], from); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// readFrom writes n bytes of r to off on, page by page.
func (p *pages) readFrom(ctx context.Context, r io.Reader, off, n int64) error {
	chunk := make([]byte, min(n, frameSize))
	for n > 0 {
		k, err := io.ReadFull(r, chunk[:min(n, frameSize-off%frameSize)])
		if err != nil {
			return err
		}
		if _, err := p.writeAt(ctx, chunk[:k], off); err != nil {
			return err
		}
		off, n = off+int64(k), n-int64(k)
	}
	return nil
}

// readAtLocked copies the bytes at off, all of which are below size; what was not
// written reads as zeros. The caller holds mu.
func (p *pages) readAtLocked(b []byte, off int64) error {
	var scratch []byte
	for len(b) > 0 {
		i, in := int(off/frameSize), off%frameSize
		n := min(int64(len(b)), frameSize-in)
		clear(b[:n])
		for _, x := range p.have {
			from, to := max(x.from, off), min(x.to, off+n)
			if from >= to {
				continue
			}
			if p.table[i].mem == nil || p.table[i].sealed > 0 {
				scratch = slices.Grow(scratch[:0], int(p.spool.frame))
			}
			frame, err := p.content(i, scratch)
			if err != nil {
				return err
			}
			copy(b[from-off:to-off], frame[from-int64(i)*frameSize:])
		}
		b, off = b[n:], off+n
	}
	return nil
}
