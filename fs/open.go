package fs

import (
	"cmp"
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/kmsfs/kmsfs/s3io"
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

// cutOff does what O_TRUNC asks for.
func (n *file) cutOff(ctx context.Context) error { return n.truncate(ctx, 0, fuse.SetAttrIn{}) }

// leaveEarly counts a descriptor out that never came to be.
func (n *file) leaveEarly(writes bool) {
	opens, writers := n.close(writes)
	if writes && writers == 0 {
		n.lastWriter(false) // O_TRUNC may have cut it
	}
	if opens == 0 {
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
