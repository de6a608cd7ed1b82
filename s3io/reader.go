package s3io

import (
	"context"
	"errors"
	"io"
	"sync"
)

// Reader reads one version of one object at any offset. While reads go from
// start to end it fetches ahead of them, in parallel, into memory that all
// readers share; while they are random it fetches what is asked for and no
// more. It is safe for concurrent use.
//
// The window that is fetched ahead is made of blocks, each the part of one
// aligned unit of the file that a GET fills. A block is waited for by all who
// need it and read from as it fills. It is never an error to others: when its
// GET gives up, the block is gone, and who needs its bytes asks for them again.
type Reader struct {
	// Dependencies.
	bucket *Bucket
	pool   *readPool

	// Constant.
	object  Object
	message *message
	ctx     context.Context // ends at Close, and all read-ahead with it
	cancel  context.CancelFunc

	fetches sync.WaitGroup // read-ahead GETs under way

	mu     sync.Mutex // guards the fields below; never held over I/O or copying
	ahead  readAhead
	blocks map[int64]*block // by number of the unit; the live ones
	reads  int              // calls of ReadAt under way
	closed bool
}

// NewReader returns a Reader of exactly o: by its version where it has one,
// else by its ETag. Reads fail with Kind Stale once that is gone. It sends
// nothing until the first read. Close it.
func (b *Bucket) NewReader(o Object) *Reader {
	r := &Reader{bucket: b, pool: b.readers, object: o, message: b.message(o), blocks: make(map[int64]*block)}
	r.ctx, r.cancel = context.WithCancel(b.ctx)
	return r
}

// ReadAt fills p from off on, as io.ReaderAt does: io.EOF tells that the
// object ended first. The end of ctx ends the wait with Kind Interrupted; a
// deadline ends it with Kind Timeout once nothing came for that long. Either
// may leave the first n bytes of p filled.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, r.fault(Other, errors.New("negative offset"))
	}
	left := r.object.Size - off
	if left <= 0 {
		return 0, r.atEnd(ctx)
	}
	want := p[:min(int64(len(p)), left)]
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.begin(off, int64(len(want))); err != nil {
		return 0, err
	}
	n, err := r.fill(ctx, want, off)
	r.end(off + int64(n))
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// atEnd returns io.EOF, of an empty sealed file once that is proven.
func (r *Reader) atEnd(ctx context.Context) error {
	if r.object.Form == Sealed && r.object.Size == 0 {
		if err := r.message.proveEmpty(ctx); err != nil {
			return r.gone(err)
		}
	}
	return io.EOF
}

// fill reads all of p, piece by piece, from blocks or by exact requests.
func (r *Reader) fill(ctx context.Context, p []byte, off int64) (n int, err error) {
	ctx, d := r.bucket.reading(ctx)
	defer d.stop()
	for n < len(p) && err == nil {
		m := 0
		m, err = r.fromBlock(ctx, p[n:], off+int64(n))
		if m == 0 && err == nil {
			m, err = r.exact(ctx, p[n:], off+int64(n))
		}
		n += m
		d.sent(int64(n)) // to the caller: that is progress too
	}
	return n, err
}

// Close ends read-ahead and frees its memory. Reads that still run may fail.
func (r *Reader) Close() {
	r.mu.Lock()
	r.closed = true
	r.dropLocked()
	r.mu.Unlock()
	r.cancel()
	r.fetches.Wait()
}

// fromBlock copies what the block at off holds, and waits for it while it
// holds nothing yet. It returns 0 and no error where there is no block.
func (r *Reader) fromBlock(ctx context.Context, p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		k := r.blocks[off/blockUnit]
		if k == nil || off < k.off {
			return 0, nil
		}
		if off < k.off+k.filled {
			held := k.mem.bytes()[off-k.off : k.filled]
			k.users++
			r.mu.Unlock()
			n := copy(p, held)
			r.mu.Lock()
			k.taken += int64(n)
			k.leave()
			return n, nil
		}
		wake := k.changed()
		r.mu.Unlock()
		var err error
		select {
		case <-wake:
		case <-ctx.Done():
			err = classify(ctx, "read", r.object.Key, ctx.Err())
		}
		r.mu.Lock()
		if err != nil {
			return 0, err
		}
	}
}

// exact asks for the bytes that no block will hold, in one GET straight into
// p, and returns how many came.
func (r *Reader) exact(ctx context.Context, p []byte, off int64) (int, error) {
	p = p[:r.gap(off, int64(len(p)))]
	s := r.source(off, off+int64(len(p)))
	defer s.close()
	n := 0
	for n < len(p) {
		m, err := s.read(ctx, p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// gap returns how many of the n bytes from off on lie before the next block.
func (r *Reader) gap(off, n int64) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for unit := off / blockUnit; unit*blockUnit < off+n; unit++ {
		if k := r.blocks[unit]; k != nil && k.off > off {
			return min(n, k.off-off)
		}
	}
	return n
}

func (r *Reader) fault(kind Kind, err error) error {
	return &Error{Kind: kind, Op: "read", Key: r.object.Key, Err: err}
}

// errReaderClosed is what reads after Close come to.
var errReaderClosed = errors.New("reader is closed")
