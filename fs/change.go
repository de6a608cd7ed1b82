package fs

import (
	"context"
	"strings"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/kmsfs/kmsfs/s3io"
)

// checkNew refuses names that must not be created.
func (d *dir) checkNew(name string) (component string, err error) {
	if err := d.f.writable(); err != nil {
		return "", err
	}
	if len(name) > nameMax {
		return "", &fault{syscall.ENAMETOOLONG, "the name is longer than 255 bytes"}
	}
	component, hidden, ok := componentOf(name)
	if !ok || hidden || component == "" || d.reserves(component) {
		return "", &fault{syscall.EPERM, "the name is reserved"}
	}
	return component, nil
}

// newAttributes are those of what the caller creates in d.
func (d *dir) newAttributes(ctx context.Context, mode uint32) attributes {
	now := time.Now()
	a := attributes{mode: mode & 07777, uid: d.f.o.UID, gid: d.f.o.GID, mtime: now, ctime: now}
	if !d.f.o.PosixAttrs {
		return a
	}
	if caller, ok := fuse.FromContext(ctx); ok {
		a.uid, a.gid = caller.Uid, caller.Gid
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.attr.mode&syscall.S_ISGID != 0 { // System V rule: the group is inherited
		a.gid = d.attr.gid
	}
	return a
}

// Create makes a file that exists here alone until it is committed: no request
// is made while the kernel holds the directory's lock. That nobody else has
// made the file is the condition of its first commit; Options.StrictExcl has it
// asked for at once.
func (d *dir) Create(ctx context.Context, name string, flags uint32, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	component, err := d.checkNew(name)
	if err != nil {
		return nil, nil, 0, d.f.answer("create", d.pathIn(name), err)
	}
	n := d.f.newFile(s3io.Object{})
	n.attr = d.newAttributes(ctx, mode)
	n.unsaved, n.cut = true, true
	if flags&syscall.O_EXCL != 0 {
		release, err := d.claim(ctx, n, name, component)
		if err != nil {
			return nil, nil, 0, d.f.answer("create", d.pathIn(name), err)
		}
		defer release()
	}
	n.opens, n.writers = 1, 1
	n.keep(flags)
	d.f.tree.Lock()
	d.adoptLocked(ctx, name, n)
	d.f.tree.Unlock()
	d.made(component)
	d.f.entry(n, out)
	return n.EmbeddedInode(), &writeHandle{n: n}, d.f.direct(flags), 0
}

// Mkdir makes a directory that S3 knows of, exactly once among all hosts.
func (d *dir) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	var made *dir
	component, err := d.checkNew(name)
	if err == nil {
		attr := d.newAttributes(ctx, mode)
		d.mu.Lock()
		attr.mode |= d.attr.mode & syscall.S_ISGID
		d.mu.Unlock()
		path := d.pathIn(name)
		err = d.f.apart(ctx, "mkdir "+path, func(ctx context.Context) (err error) {
			made, err = d.mkdir(ctx, name, component, attr)
			return err
		})
	}
	if err != nil {
		return nil, d.f.answer("mkdir", d.pathIn(name), err)
	}
	d.f.entry(made, out)
	return made.EmbeddedInode(), 0
}

func (d *dir) mkdir(ctx context.Context, name, component string, attr attributes) (*dir, error) {
	u, err := d.f.moves.share(ctx, d)
	if err != nil {
		return nil, err
	}
	defer u.end()
	attr.typ = syscall.S_IFDIR
	marker, err := d.store(ctx, component+"/", attr, "")
	if err != nil {
		return nil, err
	}
	made := d.f.newDir(marker)
	made.attr = attr
	made.pinLocked(marker) // nobody else knows it yet
	d.f.tree.Lock()
	d.adoptLocked(ctx, name, made)
	d.f.tree.Unlock()
	d.made(component + "/")
	return made, nil
}

// store makes a small object that must not exist, exactly once among all hosts.
func (d *dir) store(ctx context.Context, component string, attr attributes, content string) (s3io.Object, error) {
	want := s3io.Attrs{Meta: map[string]string{}}
	if d.f.o.PosixAttrs {
		want.Meta = attr.meta(nil, syscall.S_IFREG)
	}
	o, err := d.f.b.Put(ctx, d.prefix()+component, strings.NewReader(content), int64(len(content)), want, s3io.Condition{IfAbsent: true, Exact: true})
	if isKind(err, s3io.Exists) {
		d.listed(component)
	}
	return o, err
}

// Unlink removes a file's name. Descriptors go on working.
func (d *dir) Unlink(ctx context.Context, name string) syscall.Errno {
	path := d.pathIn(name)
	err := d.f.apart(ctx, "unlink "+path, func(ctx context.Context) error { return d.unlink(ctx, name) })
	return d.f.answer("unlink", path, err)
}

func (d *dir) unlink(ctx context.Context, name string) error {
	if err := d.f.writable(); err != nil {
		return err
	}
	if n, ok := d.live(name).(*file); ok {
		// That the object is still the known one is the condition of deleting it.
		if err := d.unlinkFile(ctx, name, n); !isKind(err, s3io.Stale) {
			return err
		}
	}
	found, err := d.find(ctx, name)
	if err != nil {
		return err
	}
	n, ok := found.(*file)
	if !ok {
		return &fault{syscall.EISDIR, name + " is a directory"}
	}
	return d.unlinkFile(ctx, name, n)
}

func (d *dir) unlinkFile(ctx context.Context, name string, n *file) error {
	if err := n.begin(ctx); err != nil {
		return err
	}
	defer n.end()
	if !(place{d, name}).has(n) {
		return gone(name)
	}
	return n.leave(ctx, func(o s3io.Object) (err error) {
		if o.ETag != "" {
			err = d.f.b.Delete(ctx, o)
		}
		if err == nil {
			d.lost(name)
		}
		return err
	})
}

// leave takes n's name away by remove, which is given the object that is to
// go. An open file is preserved first; one that nobody has open cannot be
// opened meanwhile. The gate is locked.
func (n *file) leave(ctx context.Context, remove func(s3io.Object) error) error {
	n.mu.Lock()
	open := n.opens > 0
	n.leaving = !open
	n.mu.Unlock()
	var o s3io.Object
	var place *orphan
	var err error
	if open {
		o, place, err = n.preserve(ctx)
	}
	if err == nil {
		n.mu.Lock()
		last := n.obj
		n.mu.Unlock()
		err = remove(last)
	}
	if err != nil {
		if place != nil {
			n.discard(ctx, o, place)
		}
		n.mu.Lock()
		n.leaving = false
		n.checked = time.Time{} // ask again what is there
		n.mu.Unlock()
		return err
	}
	n.bury(o, place)
	return nil
}

// lost notes that name was removed here, before the tree shows that: a
// directory that was only implied by it exists on, until the kernel forgets it,
// and lookups that cross with it ask again.
func (d *dir) lost(name string) {
	d.touch()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sticky = true
	now := d.f.clock.Add(1)
	if len(d.lostAt) == maxLost {
		d.lostAt, d.lostAll = nil, now
	}
	if d.lostAt == nil {
		d.lostAt = make(map[string]uint64)
	}
	d.lostAt[name] = now
}

// lostSince reports whether name may have been removed here after before.
func (d *dir) lostSince(name string, before uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(d.lostAt[name], d.lostAll) > before
}

// Rmdir removes an empty directory.
func (d *dir) Rmdir(ctx context.Context, name string) syscall.Errno {
	path := d.pathIn(name)
	err := d.f.apart(ctx, "rmdir "+path, func(ctx context.Context) error { return d.rmdir(ctx, name) })
	return d.f.answer("rmdir", path, err)
}

func (d *dir) rmdir(ctx context.Context, name string) error {
	if err := d.f.writable(); err != nil {
		return err
	}
	found, err := d.find(ctx, name)
	if err != nil {
		return err
	}
	sub, ok := found.(*dir)
	if !ok {
		return &fault{syscall.ENOTDIR, name + " is not a directory"}
	}
	u, err := d.f.moves.shareToRemove(ctx, sub)
	if err != nil {
		return err
	}
	defer u.end()
	if err := sub.gate.lock(ctx); err != nil {
		return err
	}
	defer sub.gate.unlock()
	if !(place{d, name}).has(sub) {
		return gone(name)
	}
	if err := sub.removeEmpty(ctx); err != nil {
		return err
	}
	d.lost(name)
	d.f.tree.Lock()
	d.f.buryLocked(sub)
	sub.removed = true
	d.f.tree.Unlock()
	return nil
}

// removeEmpty deletes the marker of a directory that has nothing in it, here
// or in S3.
func (d *dir) removeEmpty(ctx context.Context) error {
	marker, err := d.empty(ctx)
	if err == nil && marker.ETag != "" {
		err = d.f.b.Delete(ctx, marker)
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pinLocked(s3io.Object{})
	d.changed = 0
	return nil
}

// Link is refused as filesystems without hard links refuse it: tools fall back
// on a copy then.
func (d *dir) Link(context.Context, fusefs.InodeEmbedder, string, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}
