package fs

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/kmsfs/kmsfs/s3io"
)

// dir is a directory: a marker object `name/`, or implied by what is below.
type dir struct {
	fusefs.Inode
	link
	f *FS

	kids map[string]node // guarded by FS.tree
	gate gate            // held over requests that write the marker

	removed bool // by rmdir; guarded by FS.tree

	looked atomic.Uint64 // lookups by name; see wishes

	mu      sync.Mutex  // guards the fields below; never held over I/O
	marker  s3io.Object // ETag is "" while there is none
	pinned  uint64      // FS.clock when marker was last written here
	attr    attributes
	touched time.Time // when an entry last came or went here, unless times were set later
	x       xattrs
	changed int               // changes of attr and x that are not written yet
	busy    int               // renames that are under way
	sticky  bool              // something was removed from it here, so it exists until it is forgotten
	lostAt  map[string]uint64 // FS.clock when a name was removed here
	lostAll uint64            // FS.clock when older ones were forgotten
	checked time.Time         // when S3 last said that it exists
	seen    window
	looks   looks
	missed  time.Time // when a lookup last found nothing
	hints   hints
}

var (
	_ fusefs.NodeLookuper       = (*dir)(nil)
	_ fusefs.NodeGetattrer      = (*dir)(nil)
	_ fusefs.NodeSetattrer      = (*dir)(nil)
	_ fusefs.NodeOpendirHandler = (*dir)(nil)
	_ fusefs.NodeCreater        = (*dir)(nil)
	_ fusefs.NodeMkdirer        = (*dir)(nil)
	_ fusefs.NodeRmdirer        = (*dir)(nil)
	_ fusefs.NodeUnlinker       = (*dir)(nil)
	_ fusefs.NodeRenamer        = (*dir)(nil)
	_ fusefs.NodeLinker         = (*dir)(nil)
	_ fusefs.NodeMknoder        = (*dir)(nil)
	_ fusefs.NodeStatfser       = (*dir)(nil)
	_ fusefs.NodeOnForgetter    = (*dir)(nil)
)

func (f *FS) newDir(marker s3io.Object) *dir {
	d := &dir{f: f, kids: make(map[string]node), gate: newGate(), marker: marker, checked: time.Now()}
	d.attr = f.dirAttributes(marker)
	return d
}

// newRoot returns the root. Its attributes live in memory only: the bucket
// itself has none. The kernel lets nobody pass a directory that is not theirs,
// and root everywhere.
func (f *FS) newRoot() *dir {
	d := f.newDir(s3io.Object{})
	if f.o.OwnerOnly {
		d.attr.uid, d.attr.mode = uint32(os.Geteuid()), d.attr.mode&^0o077
	}
	return d
}

func (f *FS) dirAttributes(marker s3io.Object) attributes {
	a := attributes{typ: syscall.S_IFDIR, mode: f.o.DirMode &^ f.o.Umask, uid: f.o.UID, gid: f.o.GID, mtime: f.born, ctime: f.born}
	if !marker.LastModified.IsZero() {
		a.mtime, a.ctime = marker.LastModified, marker.LastModified
	}
	if f.o.PosixAttrs {
		a = attributesOf(marker.Meta, a)
	}
	return a
}

// OnForget is told when the kernel knows the directory no more.
func (d *dir) OnForget() {
	if d != d.f.root {
		d.f.forget(d)
	}
}

// fill writes what stat shows.
func (d *dir) fill(out *fuse.Attr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attr.fill(out, syscall.S_IFDIR, 0)
}

// Getattr answers from memory.
func (d *dir) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d.fill(&out.Attr)
	out.SetTimeout(d.f.o.AttrTTL)
	return 0
}

// known reports whether the directory's existence needs no question to S3.
func (d *dir) known() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sticky || d.changed > 0 || d.busy > 0 || d.f.fresh(d.checked)
}

// mark counts renames under way, during which S3's answers about the directory
// are not believed.
func (d *dir) mark(by int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy += by
}

// accept takes what S3 says about the marker, unless the answer may be older than
// what was written here: before is FS.clock from before S3 was asked.
func (d *dir) accept(marker s3io.Object, before uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.checked = time.Now()
	if d.changed > 0 || d.busy > 0 || d.pinned > before || marker.ETag == "" && d.marker.ETag == "" {
		return
	}
	if marker.ETag != d.marker.ETag || !marker.LastModified.Equal(d.marker.LastModified) {
		d.x = xattrs{}
	}
	d.marker, d.attr = marker, d.f.dirAttributes(marker)
	if d.touched.After(d.attr.mtime) {
		d.attr.mtime, d.attr.ctime = d.touched, d.touched
	}
}

// touch notes that an entry came or went. That time is not kept in S3.
func (d *dir) touch() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.touched = time.Now()
	d.attr.mtime, d.attr.ctime = d.touched, d.touched
}

// fresh reports whether an answer of time t may still be given.
func (f *FS) fresh(t time.Time) bool { return time.Since(t) < f.o.AttrTTL }

// Setattr changes mode, owner and times; they are written a little later.
func (d *dir) Setattr(_ context.Context, _ fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	path := d.f.path(d)
	d.mu.Lock()
	a, changed := d.attr.with(in)
	err := d.f.maySet(in, d.attr, a)
	if _, sets := in.GetMTime(); err == nil && sets {
		d.touched = time.Time{}
	}
	if err == nil && changed {
		d.attr = a
	}
	keep := err == nil && changed && d.f.o.PosixAttrs && d != d.f.root
	if keep {
		d.changed++
	}
	d.attr.fill(&out.Attr, syscall.S_IFDIR, 0)
	d.mu.Unlock()
	out.Ino = d.StableAttr().Ino // which go-fuse leaves out of this answer
	if keep {
		d.f.queue.add(d, attrDelay)
	}
	out.SetTimeout(d.f.o.AttrTTL)
	return d.f.answer("setattr", path, err)
}

// with returns a after the request in, and whether that is a change.
func (a attributes) with(in *fuse.SetAttrIn) (attributes, bool) {
	old := a
	if m, ok := in.GetMode(); ok {
		a.mode = m
	}
	if id, ok := in.GetUID(); ok {
		a.uid = id
	}
	if id, ok := in.GetGID(); ok {
		a.gid = id
	}
	if t, ok := in.GetMTime(); ok {
		a.mtime = t
	}
	if a == old {
		return a, false
	}
	a.ctime = time.Now()
	if t, ok := in.GetCTime(); ok {
		a.ctime = t
	}
	return a, true
}

// maySet refuses changes that could not be kept. Without POSIX attributes
// times alone are taken, for as long as memory lasts: nothing could copy a
// file into the mount otherwise.
func (f *FS) maySet(in *fuse.SetAttrIn, old, a attributes) error {
	if f.o.ReadOnly || f.readOnly() {
		return f.writable()
	}
	if !f.o.PosixAttrs && (a.mode != old.mode || a.uid != old.uid || a.gid != old.gid) {
		return &fault{syscall.EPERM, "mode and owner are not kept without --posix-attrs"}
	}
	return nil
}

// unwritten reports changes that S3 does not know of.
func (d *dir) unwritten() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed > 0
}

// writeAttrs writes changed attributes to the marker, which is created where
// the directory was only implied.
func (d *dir) writeAttrs(ctx context.Context) error {
	u, err := d.f.moves.share(ctx, d)
	if err != nil {
		return err
	}
	defer u.end()
	if err := d.gate.lock(ctx); err != nil {
		return err
	}
	defer d.gate.unlock()
	d.f.tree.RLock()
	key, dead := d.prefixLocked(), d.dead
	d.f.tree.RUnlock()
	d.mu.Lock()
	n, marker := d.changed, d.marker
	want := d.wantLocked()
	d.mu.Unlock()
	if n == 0 || dead {
		return nil
	}
	written, err := d.writeMarker(ctx, key, marker, want)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		d.pinLocked(written)
		d.x.stored(want)
		d.changed -= n
	case isKind(err, s3io.Stale) || isKind(err, s3io.NotExist) || isKind(err, s3io.Exists):
		d.x = xattrs{}
		d.changed -= n // somebody else's attributes stand
	}
	return err
}

// pinLocked takes what was written as the marker.
func (d *dir) pinLocked(marker s3io.Object) {
	d.marker, d.pinned = marker, d.f.clock.Add(1)
	d.f.heads.put(marker, d.pinned)
}

// wantLocked returns what is to be stored with the marker.
func (d *dir) wantLocked() s3io.Attrs {
	a := s3io.Attrs{Meta: d.marker.Meta}
	if d.f.o.PosixAttrs {
		a.Meta = d.attr.meta(d.marker.Meta, syscall.S_IFDIR)
	}
	if a.Meta == nil {
		a.Meta = map[string]string{}
	}
	if d.x.changed || d.marker.ETag == "" {
		a.Xattrs = d.x.all
	}
	return a
}

func (d *dir) writeMarker(ctx context.Context, key string, marker s3io.Object, want s3io.Attrs) (s3io.Object, error) {
	if marker.ETag == "" {
		return d.f.b.Put(ctx, key, emptyBody(), 0, want, s3io.Condition{IfAbsent: true})
	}
	return d.f.b.Copy(ctx, marker, key, want, s3io.Condition{IfMatch: marker.ETag})
}

// Statfs answers that there is room: a bucket has no end.
func (d *dir) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	const blocks = 1 << 42 / 4096 * 1024 // 4 PiB
	*out = fuse.StatfsOut{
		Blocks: blocks, Bfree: blocks, Bavail: blocks, Files: 1 << 40, Ffree: 1 << 40,
		Bsize: 4096, Frsize: 4096, NameLen: nameMax,
	}
	return 0
}
