package fs

import (
	"context"
	"fmt"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/kmsfs/kmsfs/s3io"
)

// renameNoReplace is RENAME_NOREPLACE of Linux; no other flag is known here.
const renameNoReplace = 1

// Rename moves by copying, then deleting what was copied. RENAME_EXCHANGE is
// refused: copies are not atomic, and its callers want that.
func (d *dir) Rename(ctx context.Context, name string, to fusefs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	path := d.pathIn(name)
	target := to.(*dir)
	p := &progress{what: fmt.Sprintf("rename %s to %s", path, target.pathIn(newName))}
	err := d.f.apartAs(ctx, p.String, func(ctx context.Context) error {
		if flags&^renameNoReplace != 0 {
			return &fault{syscall.EINVAL, "only RENAME_NOREPLACE is supported"}
		}
		return d.rename(ctx, name, target, newName, flags != 0, p)
	})
	return d.f.answerCommit("rename", path, renamed(err))
}

// renamed tells errors that close(2) would report as ESTALE from those that
// rename(2) has names for.
func renamed(err error) error {
	if isKind(err, s3io.Exists) {
		return &fault{syscall.EEXIST, err.Error()}
	}
	return err
}

func (d *dir) rename(ctx context.Context, name string, to *dir, newName string, noReplace bool, p *progress) error {
	if _, err := to.checkNew(newName); err != nil {
		return err
	}
	moved, err := d.find(ctx, name)
	if err != nil {
		return err
	}
	victim, err := to.find(ctx, newName)
	if err != nil && errnoOf(err, false) != syscall.ENOENT {
		return err
	}
	if victim != nil && noReplace {
		return &fault{syscall.EEXIST, newName + " exists"}
	}
	switch n := moved.(type) {
	case *file:
		over, ok := victim.(*file)
		if victim != nil && !ok {
			return &fault{syscall.EISDIR, newName + " is a directory"}
		}
		err = n.relocate(ctx, place{d, name}, place{to, newName}, over, noReplace)
	case *dir:
		over, ok := victim.(*dir)
		if victim != nil && !ok {
			return &fault{syscall.ENOTDIR, newName + " is not a directory"}
		}
		err = n.relocate(ctx, place{d, name}, place{to, newName}, over, p)
	}
	return err
}

// relocate moves one file. What it has not committed is committed first; pending
// attributes become part of the copy.
func (n *file) relocate(ctx context.Context, from, to place, over *file, noReplace bool) error {
	first, second := n, over
	if over != nil && over.StableAttr().Gen < n.StableAttr().Gen {
		first, second = over, n
	}
	also := []node{to.d}
	if second != nil {
		also = append(also, second)
	}
	if err := first.begin(ctx, also...); err != nil {
		return err
	}
	defer first.end()
	if second != nil {
		// begin would share moves again, behind a directory rename that waits.
		if err := second.gate.lock(ctx); err != nil {
			return err
		}
		defer second.gate.unlock()
		second.mark(+1)
		defer second.mark(-1)
	}
	if !from.has(n) || to.d.isRemoved() { // the caller may have been killed, and no longer hold their names
		return gone(from.name)
	}
	if over != nil && !to.has(over) {
		return &fault{syscall.ESTALE, to.name + " was replaced or moved meanwhile"}
	}
	if err := n.tooLarge(); err != nil {
		return err
	}
	if err := n.commit(ctx); err != nil {
		return err
	}
	component, _, _ := componentOf(to.name)
	move := func(target s3io.Object) error {
		return n.moveTo(ctx, to.d, to.name, to.d.prefix()+component, target, noReplace)
	}
	if over == nil {
		return move(s3io.Object{})
	}
	return over.leave(ctx, move)
}

// moveTo copies the file over target, which is empty where nothing was known
// to be, and deletes the source only then. What somebody else put there
// meanwhile is dealt with as the mount's policy says.
func (n *file) moveTo(ctx context.Context, to *dir, name, key string, target s3io.Object, noReplace bool) error {
	n.mu.Lock()
	there, x := n.obj.Key == key && n.obj.ETag != "", n.x
	n.mu.Unlock()
	if there { // under a hidden name, and nothing hides it any more
		n.relink(to, name)
		return nil
	}
	cond := s3io.Condition{IfAbsent: true}
	if target.ETag != "" {
		cond = s3io.Condition{IfMatch: target.ETag}
	}
	cond.Exact = noReplace
	old, err := n.copyOver(ctx, key, cond)
	if isKind(err, s3io.Exists) && !noReplace {
		return &fault{syscall.ESTALE, "the target was made by somebody else meanwhile: " + err.Error()}
	}
	if err != nil {
		return err
	}
	if err := n.f.b.Delete(ctx, old); err != nil {
		n.stay(old, x)
		return fmt.Errorf("copied, but the source stays: %w", err)
	}
	n.relink(to, name)
	return nil
}

// relink gives the file its new name in the tree.
func (n *file) relink(to *dir, name string) {
	n.up.lost(n.name) // no rename moves n meanwhile
	n.f.tree.Lock()
	if there := to.liveLocked(name); there != nil && there != node(n) {
		n.f.buryLocked(there)
	}
	n.f.moveLocked(n, to, name)
	component := n.component()
	n.f.tree.Unlock()
	to.made(component)
}

// stay moves the pin back from a copy: the file keeps its name and object.
func (n *file) stay(o s3io.Object, x xattrs) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.obj, n.pinned, n.checked = o, n.f.clock.Add(1), time.Time{}
	n.x.changed = n.x.changed || x.changed
	if n.changed == 0 && (n.x.changed || !samePosix(n.wantLocked().Meta, o.Meta)) {
		n.changed = 1 // were part of the copy
		n.f.queue.add(n, attrDelay)
	}
}
