package fs

import (
	"context"
	"errors"
	"sync"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/kmsfs/kmsfs/s3io"
)

// readHandle is a descriptor that cannot write.
type readHandle struct {
	n   *file
	tap tap
}

// writeHandle is a descriptor that can write, and read if it was opened so.
type writeHandle struct {
	n   *file
	tap tap

	mu      sync.Mutex
	flushed bool // close or fsync was called; only a process that was killed never does
}

var (
	_ fusefs.FileReader   = (*readHandle)(nil)
	_ fusefs.FileFsyncer  = (*readHandle)(nil)
	_ fusefs.FileReleaser = (*readHandle)(nil)
	_ fusefs.FileReader   = (*writeHandle)(nil)
	_ fusefs.FileWriter   = (*writeHandle)(nil)
	_ fusefs.FileFlusher  = (*writeHandle)(nil)
	_ fusefs.FileFsyncer  = (*writeHandle)(nil)
	_ fusefs.FileReleaser = (*writeHandle)(nil)
)

// Read reads what the file contains now.
func (h *readHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return h.n.read(ctx, &h.tap, dest, off)
}

// Fsync commits what others wrote to the file, and its attributes.
func (h *readHandle) Fsync(ctx context.Context, _ uint32) syscall.Errno { return h.n.fsync(ctx) }

// Release closes the descriptor.
func (h *readHandle) Release(context.Context) syscall.Errno {
	h.tap.close()
	if opens, _ := h.n.close(false); opens == 0 {
		h.n.lastClose()
	}
	return 0
}

// Read reads what the file contains now, also what is not committed yet.
func (h *writeHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return h.n.read(ctx, &h.tap, dest, off)
}

// Write changes data. The caller may be interrupted while it waits for memory.
func (h *writeHandle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	wait, stop := patient(ctx)
	defer stop()
	n := h.n
	done, err := n.write(wait, data, off)
	for try := 0; errors.Is(err, s3io.ErrNotHeld) && try < 5; try++ { // another write may send more meanwhile
		if err = n.publish(wait); err == nil {
			var more int
			more, err = n.write(wait, data[done:], off+int64(done))
			done += more
		}
	}
	if done > 0 && isKind(err, s3io.NoSpace) && !n.mapped() {
		err = nil // the caller must know what was taken: the next write tells why it was not all
	}
	return uint32(done), n.f.answerCommit("write", n.f.path(n), err)
}

// mapped reports whether a write may come from a mapping. Of these the kernel does not
// look at how much was taken: less than all has to be an error.
func (n *file) mapped() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.keeps
}

func (n *file) write(ctx context.Context, data []byte, off int64) (int, error) {
	w, err := n.writer(ctx)
	if err != nil {
		return 0, err
	}
	defer n.gate.unshare()
	before := w.Size()
	done, err := w.WriteAt(ctx, data, off)
	n.mu.Lock()
	defer n.mu.Unlock()
	if done > 0 {
		n.wroteLocked(before)
	}
	if broken := w.Err(); broken != nil { // else nothing is lost: there was no room, or no time
		n.err = broken
	}
	return done, err
}

// Flush is close(2): it commits. It comes once per duplicated descriptor, and
// writing may go on.
func (h *writeHandle) Flush(ctx context.Context) syscall.Errno {
	h.mu.Lock()
	h.flushed = true
	h.mu.Unlock()
	return h.n.f.answerCommit("close", h.n.f.path(h.n), h.n.save(ctx))
}

// Fsync commits content and attributes.
func (h *writeHandle) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	h.mu.Lock()
	h.flushed = true
	h.mu.Unlock()
	return h.n.fsync(ctx)
}

// Release closes the descriptor. The last one that could write commits what a
// shared mapping wrote after close; without a close the process was killed,
// and what it wrote is dropped.
func (h *writeHandle) Release(context.Context) syscall.Errno {
	n := h.n
	h.tap.close()
	h.mu.Lock()
	flushed := h.flushed
	h.mu.Unlock()
	opens, writers := n.close(true)
	if writers == 0 {
		n.lastWriter(flushed)
	}
	if opens == 0 {
		n.lastClose()
	}
	return 0
}

// lastWriter ends writing, when no descriptor is left that could report an
// error: a failure goes to the log, last_error, Failures and the next open.
func (n *file) lastWriter(flushed bool) {
	ctx := n.f.ctx
	leave := n.f.jobs.enter("close " + n.f.path(n))
	defer leave()
	if n.begin(ctx) != nil {
		return
	}
	n.mu.Lock()
	reported, orphan, again := n.err, n.orphan, n.writers > 0
	n.mu.Unlock()
	if orphan != nil || again {
		n.end()
		return // lives in what was written, until the last descriptor is closed; or it is the next one's
	}
	if reported == nil && flushed {
		if err := n.commit(ctx); err != nil {
			n.f.answerCommit("write of a mapping", n.f.path(n), err)
			n.f.unsaved(n.f.path(n), err, false)
			_ = n.salvage(err) // noted as well
			n.mu.Lock()
			n.late = err
			n.mu.Unlock()
		}
	}
	n.mu.Lock()
	again, failed, never := n.writers > 0, n.unsaved || n.err != nil, false
	n.keeps = n.keeps && again
	n.mu.Unlock()
	switch {
	case again:
	case failed:
		never = n.giveUp()
	default:
		n.dropWriter()
	}
	n.endBut(never)
	n.f.settled(n)
}

// fsync commits content, then attributes that are not part of it.
func (n *file) fsync(ctx context.Context) syscall.Errno {
	err := n.takeLate()
	if err == nil {
		err = n.save(ctx)
	}
	if err == nil && n.unwritten() {
		err = n.f.apart(ctx, "attributes of "+n.f.path(n), n.writeAttrs)
	}
	return n.f.answerCommit("fsync", n.f.path(n), err)
}

// takeLate returns what failed after the last close, once.
func (n *file) takeLate() error {
	n.mu.Lock()
	err := n.late
	n.late = nil
	n.mu.Unlock()
	if err != nil {
		n.f.unsaved(n.f.path(n), err, true)
	}
	return err
}
