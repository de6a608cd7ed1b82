package fs

import (
	"context"
	"strings"
	"syscall"
	"time"

	"github.com/kmsfs/kmsfs/s3io"
)

// relocate moves a directory: everything below is copied, and deleted when all
// is there. Commits and other renames wait meanwhile, so that no name is used
// under the old prefix.
func (d *dir) relocate(ctx context.Context, from, to place, over *dir, p *progress) error {
	unlock, err := d.f.moves.lock(ctx, scope{d: d, over: over, to: to})
	if err != nil {
		return err
	}
	defer unlock()
	if !from.has(d) || to.d.isRemoved() { // the caller may have been killed, and no longer hold their names
		return gone(from.name)
	}
	if over != nil && !to.has(over) {
		return &fault{syscall.ESTALE, to.name + " was replaced or moved meanwhile"}
	}
	if err := d.onlyDirs(ctx); err != nil {
		return err
	}
	release, err := d.holdAll(ctx)
	defer release()
	if err != nil {
		return err
	}
	component, _, _ := componentOf(to.name)
	t := &transfer{
		f: d.f, d: d, over: over, from: d.prefix(), to: to.d.prefix() + component + "/",
		copies: make(map[string]copied), progress: p,
	}
	stop := p.tell(d.f.log)
	defer stop()
	if err := t.run(ctx); err != nil {
		return err
	}
	t.relink(from, to)
	return nil
}

// relink shows in the tree what is so in S3.
func (t *transfer) relink(from, to place) {
	d, f := t.d, t.f
	from.d.lost(from.name)
	f.tree.Lock()
	if there := to.d.liveLocked(to.name); there != nil {
		f.buryLocked(there)
	}
	f.moveLocked(d, to.d, to.name)
	f.tree.Unlock()
	files, dirs := d.below() // those too that were looked up meanwhile
	for _, n := range files {
		n.moved(t.copies)
	}
	for _, sub := range append(dirs, d) {
		sub.moved(t.copies[t.from+strings.TrimPrefix(sub.prefix(), t.to)])
	}
	to.d.made(strings.TrimPrefix(t.to, to.d.prefix()))
}

// moved follows the copy of the file's object.
func (n *file) moved(copies map[string]copied) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, ok := copies[n.obj.Key]
	if !ok || n.obj.ETag == "" || n.obj.ETag != c.source {
		return // not in S3, or what somebody else made of it
	}
	o := n.obj
	o.Key, o.ETag, o.VersionID, o.LastModified, o.Encryption = c.o.Key, c.o.ETag, c.o.VersionID, c.o.LastModified, c.o.Encryption
	n.obj, n.pinned, n.checked = o, n.f.clock.Add(1), time.Now()
}

// moved follows the copy of the directory's marker, which is empty where there
// was none.
func (d *dir) moved(c copied) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pinLocked(c.o)
}

// empty returns the marker of a directory, if it has one, and an error if it
// has anything else in it, here or in S3.
func (d *dir) empty(ctx context.Context) (marker s3io.Object, err error) {
	prefix := d.prefix()
	for _, n := range d.files() {
		if n.unwritten() {
			return marker, &fault{syscall.ENOTEMPTY, n.f.path(n) + " is being written"}
		}
	}
	page, err := d.f.b.List(ctx, s3io.ListQuery{Prefix: prefix, Max: 2})
	for _, o := range page.Objects {
		if o.Key != prefix {
			return marker, &fault{syscall.ENOTEMPTY, "there is " + o.Key}
		}
		marker = o
	}
	return marker, err
}

// comeBack has the attributes of a directory written again that was to be
// replaced, over the marker that took the place of its own.
func (d *dir) comeBack(marker s3io.Object) {
	d.mu.Lock()
	d.pinLocked(marker)
	d.changed++
	d.x.changed = d.x.all != nil
	d.mu.Unlock()
	d.f.queue.add(d, 0)
}

// holdAll commits every live file below d and keeps it and the directories
// from changing until release is called, also by lookups, which find the old
// keys gone before the new ones are known.
func (d *dir) holdAll(ctx context.Context) (release func(), err error) {
	var undo []func()
	release = func() {
		for _, f := range undo {
			f()
		}
	}
	files, dirs := d.below()
	for _, sub := range append(dirs, d) {
		sub.mark(+1)
		undo = append(undo, func() { sub.mark(-1) })
	}
	for _, n := range files {
		if err := n.gate.lock(ctx); err != nil {
			return release, err
		}
		n.mark(+1)
		undo = append(undo, func() {
			n.mark(-1)
			n.gate.unlock()
		})
		if err := n.commit(ctx); err != nil {
			return release, err
		}
		n.dropWriter()
	}
	return release, nil
}
