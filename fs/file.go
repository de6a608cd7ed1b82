package fs

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/kmsfs/kmsfs/s3io"
)

// file is one object, pinned to the state that this node shows: our own
// commits and copies move the pin for all descriptors, a change by somebody
// else makes a new node. What was written and not committed belongs to the
// node too, because truncation comes without a descriptor and shared mappings
// write through any.
type file struct {
	fusefs.Inode
	link
	f *FS

	// gate is shared by writes and locked by what commits, copies, moves or
	// removes the object. It may be held over I/O.
	gate gate
	use  *use // of what locked the gate by begin

	mu      sync.Mutex  // guards the fields below; never held over I/O
	obj     s3io.Object // the pin; ETag is "" while nothing was committed
	pinned  uint64      // FS.clock when the pin last moved
	busy    int         // operations that may move it
	checked time.Time   // when S3 last said that the pin holds

	attr    attributes
	x       xattrs
	stamp   time.Time // the modification time that writing gave last
	changed int       // changes of attr and x that S3 does not know of

	w       *s3io.Writer // nil until something is written
	unsaved bool         // the content differs from obj
	excl    bool         // created with O_EXCL: the first commit makes room for nobody else's file
	cut     bool         // the content begins with nothing of obj, and w does not exist to say so
	err     error        // why the content cannot be saved; sticks until the last writer closes
	late    error        // what failed after the last close; told once
	kept    bool         // what cannot be saved is kept elsewhere
	spoiled bool         // the kernel's pages show what was never saved

	opens   int  // descriptors
	writers int  // descriptors that may write
	keeps   bool // one of them may read as well
	leaving bool // being unlinked while nobody has it open
	orphan  *orphan
}

var (
	_ fusefs.NodeOpener      = (*file)(nil)
	_ fusefs.NodeGetattrer   = (*file)(nil)
	_ fusefs.NodeSetattrer   = (*file)(nil)
	_ fusefs.NodeOnForgetter = (*file)(nil)
)

func (f *FS) newFile(o s3io.Object) *file {
	return &file{f: f, gate: newGate(), obj: o, checked: time.Now(), attr: f.fileAttributes(o)}
}

func (f *FS) fileAttributes(o s3io.Object) attributes {
	a := attributes{mode: f.o.FileMode &^ f.o.Umask, uid: f.o.UID, gid: f.o.GID, mtime: o.LastModified, ctime: o.LastModified}
	if o.LastModified.IsZero() {
		a.mtime, a.ctime = f.born, f.born
	}
	if f.o.PosixAttrs {
		a = attributesOf(o.Meta, a).fitting(o.Size)
	}
	return a
}

// OnForget is told when the kernel knows the file no more.
func (n *file) OnForget() { n.f.forget(n) }

// key returns the key that the next commit goes to.
func (n *file) key() (string, error) {
	n.f.tree.RLock()
	dead, key := n.dead, ""
	if !dead {
		key = n.up.prefixLocked() + n.component()
	}
	n.f.tree.RUnlock()
	if !dead {
		return key, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.orphan == nil {
		return "", &fault{syscall.ESTALE, "the file was replaced or deleted by somebody else"}
	}
	return n.orphan.key, nil
}

// sizeLocked returns st_size.
func (n *file) sizeLocked() int64 {
	switch {
	case n.w != nil:
		return n.w.Size()
	case n.cut:
		return 0
	case n.orphan != nil && n.orphan.held != nil:
		return int64(len(n.orphan.held))
	}
	return n.obj.Size
}

func (n *file) fill(out *fuse.Attr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fillLocked(out)
}

func (n *file) fillLocked(out *fuse.Attr) {
	n.attr.fill(out, syscall.S_IFREG, n.sizeLocked())
	if n.orphan != nil || n.leaving {
		out.Nlink = 0
	}
}

// Getattr answers from memory: what is open or known never waits. Whether
// somebody else changed the object is found out by lookups, which the kernel
// makes as soon as a name is older than the TTL.
func (n *file) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.fill(&out.Attr)
	out.Ino = n.StableAttr().Ino // which go-fuse leaves out of what SETATTR answers
	out.SetTimeout(n.f.o.AttrTTL)
	return 0
}

// known reports whether a lookup can be answered without a question to S3: the
// answer is young, or what is being done here decides anyway.
func (n *file) known() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.unsaved || n.busy > 0 || n.f.fresh(n.checked)
}

func (n *file) unwritten() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.unsaved || n.changed > 0 || n.busy > 0
}

// accept takes what S3 said about the file and reports whether the node still
// stands for it. Answers that crossed with something that was done here are
// not believed: before is FS.clock from before S3 was asked.
func (n *file) accept(got found, before uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.unsaved || n.busy > 0 || n.pinned > before {
		return true
	}
	if got.kind != isFile || got.obj.ETag != n.obj.ETag || got.obj.Stored != n.obj.Stored {
		return false // Size is a guess while there was no HEAD
	}
	n.checked = time.Now()
	moved := !got.obj.LastModified.Equal(n.obj.LastModified)
	if got.obj.Head || !n.obj.Head {
		n.obj = got.obj
	}
	if moved && n.changed == 0 {
		n.x = xattrs{}
	}
	if got.obj.Head && moved && n.changed == 0 && n.f.o.PosixAttrs {
		n.attr = n.f.fileAttributes(got.obj)
	}
	return true
}

// pinLocked moves the pin to what was committed or copied with the attributes
// want, of which changed are written by that. Where the object came out with
// others, because a copy would have taken too long, they remain to be written.
func (n *file) pinLocked(o s3io.Object, want s3io.Attrs, changed int) {
	n.changed -= changed
	n.x.stored(want)
	if o.Meta == nil {
		o.Meta = want.Meta
	} else if !samePosix(o.Meta, want.Meta) && n.changed == 0 && n.f.o.PosixAttrs {
		n.changed = 1
		n.f.queue.add(n, never)
	}
	o.Head = true
	n.obj = o
	n.pinned = n.f.clock.Add(1)
	n.checked = time.Now()
	if n.orphan != nil {
		n.f.held.Add(-int64(len(n.orphan.held)))
		n.orphan.held = nil
		return
	}
	n.f.heads.put(o, n.pinned)
}

// wantLocked returns the attributes to store with the content. Headers and
// foreign metadata of the object stay.
func (n *file) wantLocked() s3io.Attrs {
	a := s3io.Attrs{Meta: n.obj.Meta, Headers: n.obj.Headers}
	if n.obj.ETag != "" {
		o := n.obj
		a.Base = &o
	}
	if n.f.o.PosixAttrs {
		a.Meta = n.attr.meta(n.obj.Meta, syscall.S_IFREG)
	}
	if a.Meta == nil {
		a.Meta = map[string]string{}
	}
	if n.x.changed || n.obj.ETag == "" {
		a.Xattrs = n.x.all
	}
	return a
}

// wroteLocked notes that the content has just changed. Writing takes suid and
// sgid off, which the kernel leaves to us (CAP_HANDLE_KILLPRIV_V2).
//
// S3 takes the metadata of a large file with the request that begins it. So
// the modification time of content that grew beyond settledSize stands until
// it is committed, unless somebody sets another: anything later would cost a copy
// of the whole object.
func (n *file) wroteLocked(sizeBefore int64) {
	mode := withoutSuid(n.attr.mode)
	if !n.unsaved || sizeBefore <= settledSize || mode != n.attr.mode || !n.attr.mtime.Equal(n.stamp) {
		n.stamp = time.Now()
		n.attr.mode, n.attr.mtime, n.attr.ctime = mode, n.stamp, n.stamp
		if n.w != nil && n.sizeLocked() > settledSize {
			n.w.SetAttrs(n.wantLocked())
		}
	}
	n.unsaved = true
}

// withoutSuid takes suid off, and sgid where it means execution with rights.
func withoutSuid(mode uint32) uint32 {
	mode &^= syscall.S_ISUID
	if mode&syscall.S_IXGRP != 0 {
		mode &^= syscall.S_ISGID
	}
	return mode
}

// Setattr changes size, mode, owner and times. A file that nobody has open for
// writing is committed when its size changes, because no close will tell.
func (n *file) Setattr(ctx context.Context, _ fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	var err error
	if size, resize := in.GetSize(); resize {
		err = n.truncate(ctx, int64(size), *in)
	} else {
		err = n.setAttributes(ctx, in, false)
	}
	if err != nil {
		return n.f.answerCommit("setattr", n.f.path(n), err)
	}
	return n.Getattr(ctx, nil, out)
}

func (n *file) setAttributes(ctx context.Context, in *fuse.SetAttrIn, resize bool) error {
	refused := n.changeable(ctx)
	n.mu.Lock()
	a, changed := n.attr.with(in)
	_, setsMode := in.GetMode()
	if !setsMode && (in.Valid == 0 || in.Valid&fuse.FATTR_KILL_SUIDGID != 0 || a.uid != n.attr.uid || a.gid != n.attr.gid) {
		a.mode = withoutSuid(a.mode)
		changed = changed || a.mode != n.attr.mode
	}
	err := n.f.maySet(in, n.attr, a)
	if err == nil && changed {
		err = refused
	}
	keep := err == nil && changed && n.f.o.PosixAttrs
	if err == nil && changed {
		n.attr = a
	}
	timesOnly := in.Valid&(fuse.FATTR_MODE|fuse.FATTR_UID|fuse.FATTR_GID) == 0
	if keep && !(resize && timesOnly) { // those stand and fall with the content
		n.changed++
	}
	if keep && n.w != nil {
		n.w.SetAttrs(n.wantLocked())
	}
	wait := attrDelay
	if timesOnly && n.obj.Size > utimesCopyLimit {
		wait = never
	}
	n.mu.Unlock()
	if keep && !resize {
		n.f.queue.add(n, wait)
	}
	return err
}

// written says what writing does to attributes.
const written = fuse.FATTR_MTIME | fuse.FATTR_MTIME_NOW | fuse.FATTR_KILL_SUIDGID

// touch does to the attributes what writing does, where that changes nothing.
func (n *file) touch(ctx context.Context) error {
	var in fuse.SetAttrIn
	in.Valid = written
	return n.setAttributes(ctx, &in, false)
}

// truncate changes the size and what else in says, and commits that unless
// somebody has the file open for writing.
func (n *file) truncate(ctx context.Context, size int64, in fuse.SetAttrIn) error {
	err := n.f.writable()
	if err == nil && size > 0 {
		err = cmp.Or(n.changeable(ctx), n.readable(ctx, true))
	}
	if err != nil {
		return err
	}
	return n.f.apart(ctx, "truncate "+n.f.path(n), func(ctx context.Context) error {
		if err := n.begin(ctx); err != nil {
			return err
		}
		n.mu.Lock()
		same := size == n.sizeLocked()
		n.mu.Unlock()
		err := n.resize(ctx, size)
		if err == nil {
			if same { // sets the time and takes suid off like any other
				in.Valid |= written
			}
			n.mu.Lock()
			unsaved := n.unsaved
			n.mu.Unlock()
			err = n.setAttributes(ctx, &in, unsaved)
		}
		never, saveErr := n.saveUnlessOpen(ctx)
		n.endBut(never)
		return cmp.Or(err, saveErr)
	})
}

// resize is truncate under the locked gate.
func (n *file) resize(ctx context.Context, size int64) error {
	n.mu.Lock()
	same, err := size == n.sizeLocked(), n.err
	if size == 0 && n.obj.Form != s3io.Plain {
		same = false // what says that it is empty need not be: nothing of it is kept
	}
	n.mu.Unlock()
	switch {
	case err != nil:
		return err
	case same:
		return nil
	case size == 0:
		n.dropWriter()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.cut = true
		n.wroteLocked(0)
		return nil
	}
	return n.edit(ctx, func(w *s3io.Writer) error { return w.Truncate(size) })
}

// edit changes the content by f. The gate is locked.
func (n *file) edit(ctx context.Context, f func(*s3io.Writer) error) error {
	w, err := n.makeWriter(ctx)
	if err == nil {
		err = f(w)
	}
	if errors.Is(err, s3io.ErrNotHeld) {
		if err = n.commitTo(ctx); err == nil {
			err = f(w)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		n.wroteLocked(0)
	}
	return err
}
