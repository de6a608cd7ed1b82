package fs

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/kmsfs/kmsfs/s3io"
)

// read serves both kinds of descriptors.
func (n *file) read(ctx context.Context, t *tap, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	wait, stop := patient(ctx)
	defer stop()
	k, err := n.readAt(wait, t, dest, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, n.f.answer("read", n.f.path(n), err)
	}
	return fuse.ReadResultData(dest[:k]), 0
}

// readAt reads from wherever the content is: from what is being written, or
// from the pinned object. Where a writer no longer holds the bytes, what is
// written so far is committed, as fsync would, and read from there.
func (n *file) readAt(ctx context.Context, t *tap, p []byte, off int64) (int, error) {
	for try := 0; ; try++ {
		n.mu.Lock()
		o, pinned, unsaved, held, cut := n.obj, n.pinned, n.unsaved, n.heldLocked(), n.cut
		n.mu.Unlock()
		switch {
		case unsaved && cut:
			return 0, io.EOF
		case unsaved:
			k, err := n.readWritten(ctx, t, p, off)
			if errors.Is(err, errNotWritten) && try < 3 {
				continue
			}
			return k, err
		case held != nil:
			return copy(p, held[min(off, int64(len(held))):]), nil
		}
		k, err := t.readAt(ctx, n.f.b, o, p, off)
		if !isKind(err, s3io.Stale) && !isKind(err, s3io.NotExist) || try >= 3 {
			return k, err
		}
		// Our own copy may have replaced the object: wait for it to be told.
		moved, werr := n.movedSince(ctx, pinned)
		if werr != nil {
			return 0, werr
		}
		if !moved {
			return k, &fault{syscall.ESTALE, "changed by somebody else: " + err.Error()}
		}
	}
}

// movedSince waits for what may be moving the pin or taking the name away, and
// reports whether that has happened since.
func (n *file) movedSince(ctx context.Context, pinned uint64) (bool, error) {
	if err := n.gate.share(ctx); err != nil {
		return false, err
	}
	n.gate.unshare()
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pinned != pinned, nil
}

// errNotWritten says that there is nothing uncommitted any more.
var errNotWritten = errors.New("committed meanwhile")

// readWritten reads from the writer, and what that has in its base through t.
func (n *file) readWritten(ctx context.Context, t *tap, p []byte, off int64) (int, error) {
	w, err := n.writer(ctx)
	if err != nil {
		return 0, err
	}
	n.mu.Lock()
	unsaved := n.unsaved
	n.mu.Unlock()
	if !unsaved {
		n.gate.unshare()
		return 0, errNotWritten
	}
	k, err := w.ReadAt(p, off, func(base s3io.Object, p []byte, off int64) error {
		return readFull(t.readAt(ctx, n.f.b, base, p, off))
	})
	n.gate.unshare()
	if !errors.Is(err, s3io.ErrNotHeld) {
		return k, err
	}
	if err := n.publish(ctx); err != nil {
		return 0, err
	}
	return 0, errNotWritten
}

// readFull is the error of a read that has to find everything it asked for.
func readFull(_ int, err error) error {
	if errors.Is(err, io.EOF) {
		return nil // at the end, where the rest is not asked for
	}
	return err
}

// tap is a descriptor's reader of the pinned object: it sees one sequence of
// reads, so that reading ahead can follow it.
type tap struct {
	mu sync.RWMutex // held over reads; locked to replace the reader
	o  s3io.Object
	r  *s3io.Reader
}

func (t *tap) readAt(ctx context.Context, b *s3io.Bucket, o s3io.Object, p []byte, off int64) (int, error) {
	for {
		t.mu.RLock()
		if t.r != nil && t.o.ETag == o.ETag && t.o.Key == o.Key && t.o.VersionID == o.VersionID && t.o.Size == o.Size {
			k, err := t.r.ReadAt(ctx, p, off)
			t.mu.RUnlock()
			return k, err
		}
		t.mu.RUnlock()
		t.mu.Lock()
		if t.r != nil {
			t.r.Close()
		}
		t.o, t.r = o, b.NewReader(o)
		t.mu.Unlock()
	}
}

// unlock makes the reader of o, and sure that it needs no key any more.
func (t *tap) unlock(ctx context.Context, b *s3io.Bucket, o s3io.Object) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.o, t.r = o, b.NewReader(o)
	return t.r.Unlock(ctx)
}

func (t *tap) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.r != nil {
		t.r.Close()
		t.r = nil
	}
}
