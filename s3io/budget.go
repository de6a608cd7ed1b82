package s3io

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// A class is a size of chunk: small ones so that a thousand open small files
// fit, large ones so that a stream costs few chunks.
type class uint8

const (
	small class = iota
	large
	classes
)

// Chunk sizes by class, without room.
const (
	smallChunk = 64 << 10
	largeChunk = 1 << 20
)

// room is what is kept free around every smallChunk bytes of a chunk, so that
// they can be sealed in their place.
type room struct{ head, tail int }

// unit is the size of smallChunk bytes with their room.
func (r room) unit() int { return r.head + smallChunk + r.tail }

// errScarce says that all memory is taken and no upload under way will free
// any: waiting could last for ever, so the bytes must go elsewhere.
var errScarce = errors.New("buffer memory is used up")

// A budget hands out chunks of at most total bytes together. The memory is
// mapped outside the Go heap, so that it is counted once, never copied by the
// collector and left out of core dumps; released chunks are kept for reuse.
//
// Waiters are served in order. They wait only while chunks are leaving, that
// is while their owner promised to release them without waiting for memory
// itself: a budget never dead-locks on idle owners.
type budget struct {
	total int64
	room  room
	sizes [classes]int64 // of chunks: their units, up to whole pages of the system

	mu      sync.Mutex
	used    int64             // bytes handed out
	mapped  int64             // bytes handed out or kept for reuse, <= total
	leaving int64             // bytes of used that will be released by themselves
	peak    int64             // highest used ever
	free    [classes][][]byte // kept for reuse
	waiters []*memWaiter      // in order of arrival
	closed  bool              // nothing is kept for reuse any more
}

type memWaiter struct {
	class class
	ready chan struct{} // closed when chunk or err is set
	chunk *chunk
	err   error
}

// A chunk is memory of its class's size with old content; its owner releases
// it exactly once. It is not safe for concurrent use without a lock of the
// owner's.
type chunk struct {
	budget  *budget
	class   class
	mem     []byte
	leaving bool
}

// newBudget returns a budget of total bytes, in chunks with that room. A total
// below one chunk of a class makes every request for that class scarce.
func newBudget(total int64, r room) *budget {
	b := &budget{total: total, room: r}
	page := unix.Getpagesize()
	for c, bytes := range [classes]int{small: smallChunk, large: largeChunk} {
		size := bytes / smallChunk * r.unit()
		b.sizes[c] = int64((size + page - 1) / page * page)
	}
	return b
}

// get returns a chunk. Where memory is used up it waits for chunks that are
// leaving; where none are, it returns errScarce. It returns ctx's error when
// ctx ends first.
func (b *budget) get(ctx context.Context, c class) (*chunk, error) {
	b.mu.Lock()
	if len(b.waiters) == 0 && b.fitsLocked(c) {
		defer b.mu.Unlock()
		return b.takeLocked(c)
	}
	if b.leaving == 0 {
		b.mu.Unlock()
		return nil, errScarce
	}
	w := &memWaiter{class: c, ready: make(chan struct{})}
	b.waiters = append(b.waiters, w)
	b.mu.Unlock()

	select {
	case <-w.ready:
		return w.chunk, w.err
	case <-ctx.Done():
	}
	b.mu.Lock()
	for i, x := range b.waiters {
		if x == w {
			b.waiters = append(b.waiters[:i], b.waiters[i+1:]...)
			b.serveLocked() // the next one may want less
			b.mu.Unlock()
			return nil, ctx.Err()
		}
	}
	b.mu.Unlock()
	if w.chunk != nil { // served in the same moment
		w.chunk.release()
	}
	return nil, ctx.Err()
}

// tryGet returns a chunk, or nil where there is none at once.
func (b *budget) tryGet(c class) *chunk {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiters) > 0 || !b.fitsLocked(c) {
		return nil
	}
	k, err := b.takeLocked(c)
	if err != nil {
		return nil
	}
	return k
}

// inUse returns the bytes handed out now and the most that ever were.
func (b *budget) inUse() (now, peak int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used, b.peak
}

// close gives the memory kept for reuse back to the system; chunks still
// handed out go back when they are released.
func (b *budget) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.shrinkLocked(b.used)
}

func (b *budget) fitsLocked(c class) bool {
	return b.used+b.sizes[c] <= b.total
}

// takeLocked hands out a chunk that fits.
func (b *budget) takeLocked(c class) (*chunk, error) {
	k := &chunk{budget: b, class: c}
	size := b.sizes[c]
	if n := len(b.free[c]); n > 0 {
		k.mem = b.free[c][n-1]
		b.free[c] = b.free[c][:n-1]
	} else {
		b.shrinkLocked(b.total - size) // chunks of the other class make room
		mem, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return nil, fmt.Errorf("map %d bytes of buffer memory: %w", size, err)
		}
		dontDump(mem)
		k.mem = mem
		b.mapped += size
	}
	b.used += size
	b.peak = max(b.peak, b.used)
	return k, nil
}

// shrinkLocked unmaps chunks kept for reuse until at most limit bytes are mapped.
func (b *budget) shrinkLocked(limit int64) {
	for c := range classes {
		for b.mapped > limit && len(b.free[c]) > 0 {
			n := len(b.free[c]) - 1
			b.unmapLocked(b.free[c][n])
			b.free[c] = b.free[c][:n]
		}
	}
}

func (b *budget) unmapLocked(mem []byte) {
	b.mapped -= int64(len(mem))
	if err := unix.Munmap(mem); err != nil {
		panic("s3io: unmap a chunk: " + err.Error()) // only a chunk that is not ours can fail
	}
}

// serveLocked hands chunks to the waiters in their order, and turns all away
// when nothing is left that could free memory for them.
func (b *budget) serveLocked() {
	for len(b.waiters) > 0 {
		w := b.waiters[0]
		switch {
		case b.fitsLocked(w.class):
			w.chunk, w.err = b.takeLocked(w.class)
		case b.leaving == 0:
			w.err = errScarce
		default:
			return
		}
		b.waiters = b.waiters[1:]
		close(w.ready)
	}
}

// bytes returns the chunk's memory, valid until release.
func (c *chunk) bytes() []byte { return c.mem }

// leave promises that the chunk will be released without its owner waiting for
// memory, so that others may wait for it.
func (c *chunk) leave() {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	if !c.leaving {
		c.leaving = true
		c.budget.leaving += int64(len(c.mem))
	}
}

// stay takes the promise of leave back.
func (c *chunk) stay() {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	if c.leaving {
		c.leaving = false
		c.budget.leaving -= int64(len(c.mem))
		c.budget.serveLocked()
	}
}

// release gives the chunk back; its memory must not be touched any more.
func (c *chunk) release() {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.mem == nil {
		panic("s3io: chunk released twice")
	}
	if c.leaving {
		b.leaving -= int64(len(c.mem))
	}
	b.used -= int64(len(c.mem))
	if b.closed {
		b.unmapLocked(c.mem)
	} else {
		b.free[c.class] = append(b.free[c.class], c.mem)
	}
	c.mem = nil
	b.serveLocked()
}
