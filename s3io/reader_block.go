package s3io

import "context"

// block is the part of one unit of the file that one GET fills. All its fields
// but the constant ones are guarded by its Reader's mu; mem is written by the
// fetch behind filled, and read before it, without the lock.
type block struct {
	off, size int64 // constant: the range of the file, within one unit
	mem       *chunk
	fetch     *fetch

	filled  int64         // bytes that have come
	taken   int64         // bytes handed out
	users   int           // who touches mem: readers that copy, and the fetch
	dropped bool          // off the Reader's map; freed by its last user
	wake    chan struct{} // closed at the next change; nil while nobody waits
}

// fetch is one read-ahead GET.
type fetch struct {
	blocks []*block
	cancel context.CancelFunc
	live   int // blocks not dropped; guarded by the Reader's mu
}

// changed returns what is closed when the block has more bytes, or is dropped.
func (k *block) changed() <-chan struct{} {
	if k.wake == nil {
		k.wake = make(chan struct{})
	}
	return k.wake
}

func (k *block) announce() {
	if k.wake != nil {
		close(k.wake)
		k.wake = nil
	}
}

// leave ends one use of the block's memory.
func (k *block) leave() {
	k.users--
	k.freeUnused()
}

func (k *block) freeUnused() {
	if k.dropped && k.users == 0 {
		k.mem.release()
	}
}

// begin notes a read of n bytes at off, and starts to fetch what it and the
// reads after it will need.
func (r *Reader) begin(off, n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return r.fault(Other, errReaderClosed)
	}
	r.reads++
	if r.pool.most == 0 {
		return nil
	}
	stream, fresh := r.ahead.note(off, n, r.object.Size)
	if fresh {
		r.dropBlocksLocked()
		r.ahead.front = off
	}
	if r.ahead.lost() {
		r.dropLocked()
	}
	if !stream {
		return nil
	}
	r.ahead.window = min(r.ahead.window, r.pool.join(r))
	for r.ahead.window > 0 && !r.extendLocked(n) {
		r.mu.Unlock()
		more := r.pool.reclaim(r)
		r.mu.Lock()
		if !more {
			break
		}
	}
	return nil
}

// end notes that a read has ended before off, and frees what its stream has
// passed.
func (r *Reader) end(off int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads--
	if r.ahead.window == 0 {
		return
	}
	if off <= r.ahead.front+max(r.ahead.window, slack) { // not a stray
		r.ahead.front = max(r.ahead.front, off)
	}
	for unit, k := range r.blocks {
		end := k.off + k.size
		if end <= r.ahead.front-slack || end <= r.ahead.front && k.taken >= k.size {
			r.dropBlockLocked(unit, k)
		}
	}
	if r.ahead.front >= r.object.Size && len(r.blocks) == 0 {
		r.dropLocked()
	}
}

// yield drops what r holds, unless it is in use.
func (r *Reader) yield() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reads == 0 {
		r.dropLocked()
	}
}

// dropLocked ends the stream, its GETs and its memory.
func (r *Reader) dropLocked() {
	r.ahead = readAhead{last: r.ahead.last}
	r.dropBlocksLocked()
	r.pool.leave(r)
}

func (r *Reader) dropBlocksLocked() {
	for unit, k := range r.blocks {
		r.dropBlockLocked(unit, k)
	}
}

// dropBlockLocked wakes who waits for k, and ends k's GET if nobody wants any
// other of its blocks either.
func (r *Reader) dropBlockLocked(unit int64, k *block) {
	delete(r.blocks, unit)
	k.dropped = true
	k.announce()
	if k.fetch.live--; k.fetch.live == 0 {
		k.fetch.cancel()
	}
	k.freeUnused()
}
