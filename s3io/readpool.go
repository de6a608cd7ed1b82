package s3io

import (
	"sync"
	"time"
)

// Bounds of read-ahead. S3 gives each connection about 90 MB/s, so that a wide
// window needs at least eight; larger GETs cost a server less, and AWS advises
// 8 to 16 MiB.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-guidelines.html
const (
	blockUnit  = largeChunk // what blocks are aligned to
	firstAhead = 1 << 20    // first window; files up to this size come in one GET
	mostAhead  = 64 << 20   // largest window of one Reader
	largestGet = 8 << 20    // one read-ahead GET
	idleAfter  = time.Second
)

// readPool is what the Readers of one mount share: memory, connections for
// read-ahead, and the knowledge of who uses them. Its lock is taken after a
// Reader's.
type readPool struct {
	mem  *budget
	gets chan struct{} // slots of read-ahead GETs; exact reads need none
	most int64         // largest window of one Reader; 0 is no read-ahead
	idle time.Duration // how long a Reader keeps memory that it does not use

	mu      sync.Mutex            // guards the fields below
	streams map[*Reader]time.Time // who reads ahead, and when they last read
}

// newReadPool gives the Readers 3/8 of o.Memory, and read-ahead half of
// o.MaxConnections so that exact reads need not queue behind it.
func newReadPool(o Options) *readPool {
	p := &readPool{
		mem:     newBudget(o.Memory/8*3, room{}),
		gets:    make(chan struct{}, max(1, o.MaxConnections/2)),
		most:    mostAhead,
		idle:    idleAfter,
		streams: make(map[*Reader]time.Time),
	}
	switch {
	case o.ReadAhead < 0:
		p.most = 0
	case o.ReadAhead > 0:
		p.most = max(o.ReadAhead, firstAhead)
	}
	return p
}

// join notes that r reads ahead now, and returns how far it may: the memory is
// shared equally.
func (p *readPool) join(r *Reader) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams[r] = time.Now()
	return min(p.most, max(firstAhead, p.mem.total/int64(len(p.streams))))
}

// leave notes that r reads ahead no more.
func (p *readPool) leave(r *Reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.streams, r)
}

// reclaim takes for r the memory of the Reader that has been idle the longest,
// and reports whether there was one. The caller must not hold a Reader's lock.
func (p *readPool) reclaim(r *Reader) bool {
	p.mu.Lock()
	var victim *Reader
	oldest := time.Now().Add(-p.idle)
	for other, used := range p.streams {
		if other != r && !used.After(oldest) {
			victim, oldest = other, used
		}
	}
	delete(p.streams, victim)
	p.mu.Unlock()
	if victim == nil {
		return false
	}
	victim.yield()
	return true
}
