package fs

import (
	"cmp"
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

// Open opens the file. S3 is not asked: the kernel has just looked the name up,
// or its answer was younger than the TTL. KMS may be, so that a revoked key
// bites.
func (n *file) Open(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	r, w := &readHandle{n: n}, &writeHandle{n: n} // one of them is used
	writes := flags&syscall.O_ACCMODE != syscall.O_RDONLY
	t := &r.tap
	if writes {
		t = &w.tap
	}
	if err := n.open(ctx, t, writes, flags&syscall.O_TRUNC != 0); err != nil {
		t.close()
		return nil, 0, n.f.answerCommit("open", n.f.path(n), err)
	}
	n.keep(flags)
	how := n.keepCache()
	if !writes {
		return r, how, 0
	}
	return w, how | n.f.direct(flags), 0
}

// open counts a descriptor in and cuts or unlocks what it sees through t.
func (n *file) open(ctx context.Context, t *tap, writes, cut bool) error {
	if writes || cut {
		if err := n.f.writable(); err != nil {
			return err
		}
	}
	// From here on what takes the name away preserves the content.
	err := n.enter(ctx, writes)
	if err != nil {
		return err
	}
	if !cut {
		err = n.unlock(ctx, t, writes)
	} else if err = n.replaceable(ctx); err == nil {
		err = n.cutOff(ctx)
	}
	if err != nil {
		n.leaveEarly(writes)
	}
	return err
}

// cutOff does what O_TRUNC asks for. It takes suid and sgid off and sets the
// time also where there is nothing to cut.
func (n *file) cutOff(ctx context.Context) error {
	if err := n.truncate(ctx, 0); err != nil {
		return err
	}
	var in fuse.SetAttrIn
	in.Valid = fuse.FATTR_KILL_SUIDGID | fuse.FATTR_MTIME | fuse.FATTR_MTIME_NOW
	n.mu.Lock()
	unsaved := n.unsaved
	n.mu.Unlock()
	if err := n.setAttributes(ctx, &in, unsaved); err != nil {
		return err
	}
	return n.saveUnlessOpen(ctx) // a descriptor that cannot write commits nothing when it closes
}

// leaveEarly counts a descriptor out that never came to be.
func (n *file) leaveEarly(writes bool) {
	if opens, _ := n.close(writes); opens == 0 {
		n.lastClose()
	}
}

// keep has what is written held on if the descriptor that is opened may read it
// back.
func (n *file) keep(flags uint32) {
	if flags&syscall.O_ACCMODE != syscall.O_RDWR {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keeps = true
	if n.w != nil {
		n.w.Keep()
	}
}

// unlock makes sure that what is to be read, or changed in part, can be opened,
// and stays so for the descriptor.
func (n *file) unlock(ctx context.Context, t *tap, writes bool) error {
	wait, stop := patient(ctx)
	defer stop()
	for try := 0; ; try++ {
		n.mu.Lock()
		o, pinned := n.obj, n.pinned
		n.mu.Unlock()
		if err := n.readable(wait, writes); err != nil || o.ETag == "" || o.Form == s3io.Plain {
			return err
		}
		err := t.unlock(wait, n.f.b, o)
		if err == nil && writes {
			return n.changeable(wait)
		}
		if !isKind(err, s3io.Stale) && !isKind(err, s3io.NotExist) || try == 3 {
			return err
		}
		// Our own copy, or a rename onto it, may have replaced the object.
		if moved, werr := n.movedSince(wait, pinned); werr != nil || !moved {
			return cmp.Or(werr, err)
		}
	}
}

// changeable is the answer to what would change an object that is not sealed
// but should be. Such objects can be replaced and deleted, and read on request.
func (n *file) changeable(ctx context.Context) error {
	n.mu.Lock()
	o, unsaved := n.obj, n.unsaved
	n.mu.Unlock()
	if unsaved || o.ETag == "" || o.Form != s3io.Foreign {
		return nil
	}
	if err := n.f.b.Unlock(ctx, o); err != nil {
		return err
	}
	return &fault{syscall.EROFS, "the object is not sealed: it can be read, replaced and deleted, but not changed"}
}

// replaceable makes sure that what new content has to carry over can be opened:
// else whoever writes it learned that only when all is written.
func (n *file) replaceable(ctx context.Context) error {
	wait, stop := patient(ctx)
	defer stop()
	n.mu.Lock()
	o := n.obj
	n.mu.Unlock()
	if o.Xattrs == "" {
		return nil
	}
	_, err := n.f.b.Xattrs(wait, o)
	return err
}

// enter counts a descriptor in. A name that is being taken away is waited for:
// the kernel asks again for what is there then, but only once.
func (n *file) enter(ctx context.Context, writes bool) error {
	wait, stop := patient(ctx)
	defer stop()
	for {
		n.f.tree.RLock()
		dead := n.dead
		n.f.tree.RUnlock()
		err := n.takeLate()
		n.mu.Lock()
		leaving := n.leaving
		if err == nil && dead && n.orphan == nil {
			err = &fault{syscall.ESTALE, "the file was deleted or replaced"}
		}
		if err == nil && !leaving {
			n.opens++
			if writes {
				n.writers++
			}
		}
		n.mu.Unlock()
		if err != nil || !leaving {
			return err
		}
		if err := n.gate.share(wait); err != nil {
			return err
		}
		n.gate.unshare()
	}
}

// close counts a descriptor out.
func (n *file) close(writes bool) (opens, writers int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opens--
	if writes {
		n.writers--
	}
	return n.opens, n.writers
}

// keepCache tells the kernel to keep the pages it has: every write of this
// mount went through them and a change by somebody else makes a new node, so
// they show this file's content but for what was never saved. Where open could
// not ask for the key, because nobody knows the header, reading has to.
func (n *file) keepCache() uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.spoiled || n.obj.Form == s3io.Sealed && n.obj.Header == nil {
		n.spoiled = false
		return 0
	}
	return fuse.FOPEN_KEEP_CACHE
}

// direct asks for direct I/O on descriptors that only write: large writes then
// arrive in one piece without a copy into pages that nobody reads.
func (f *FS) direct(flags uint32) uint32 {
	if f.o.CachedWrites || flags&syscall.O_ACCMODE != syscall.O_WRONLY {
		return 0
	}
	return fuse.FOPEN_DIRECT_IO
}

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
	if errors.Is(err, s3io.ErrNotHeld) {
		if err = n.publish(wait); err == nil {
			var more int
			more, err = n.write(wait, data[done:], off+int64(done))
			done += more
		}
	}
	return uint32(done), n.f.answerCommit("write", n.f.path(n), err)
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
	n.mu.Lock()
	reported, unsaved, orphan := n.err, n.unsaved, n.orphan
	n.mu.Unlock()
	if orphan != nil {
		return // lives in what was written, until the last descriptor is closed
	}
	if reported == nil && unsaved && flushed {
		if err := n.save(ctx); err != nil {
			n.f.answerCommit("write of a mapping", n.f.path(n), err)
			n.f.unsaved(n.f.path(n), err, false)
			n.mu.Lock()
			n.late = err
			n.mu.Unlock()
		}
	}
	if n.begin(ctx) != nil {
		return
	}
	n.mu.Lock()
	again, failed := n.writers > 0, n.unsaved || n.err != nil
	n.mu.Unlock()
	if !again && !failed {
		n.dropWriter()
	}
	n.end()
	if !again && failed {
		n.revert(ctx)
	}
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
