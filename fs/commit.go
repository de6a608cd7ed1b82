package fs

import (
	"context"
	"syscall"

	"github.com/kmsfs/kmsfs/s3io"
)

// begin locks the gate for an operation that may move the pin, and holds off
// directory renames that would move n or the others; end undoes both.
func (n *file) begin(ctx context.Context, also ...node) error {
	u, err := n.f.moves.share(ctx, append(also, n)...)
	if err != nil {
		return err
	}
	if err := n.gate.lock(ctx); err != nil {
		u.end()
		return err
	}
	n.use = u
	n.mark(+1)
	return nil
}

// mark counts operations under way, during which S3's answers about the file
// are not believed.
func (n *file) mark(by int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.busy += by
}

func (n *file) end() {
	u := n.use
	n.use = nil
	n.mark(-1)
	n.gate.unlock()
	u.end()
}

// writer returns the writer with the gate shared, to be unshared by the
// caller: it cannot be replaced meanwhile.
func (n *file) writer(ctx context.Context) (*s3io.Writer, error) {
	for {
		if err := n.gate.share(ctx); err != nil {
			return nil, err
		}
		n.mu.Lock()
		w, err := n.w, n.err
		n.mu.Unlock()
		if w != nil && err == nil {
			return w, nil
		}
		n.gate.unshare()
		if err != nil {
			return nil, err
		}
		if err := n.begin(ctx); err != nil {
			return nil, err
		}
		_, err = n.makeWriter(ctx)
		n.end()
		if err != nil {
			return nil, err
		}
	}
}

// makeWriter returns the writer, made if there is none. The gate is locked.
func (n *file) makeWriter(ctx context.Context) (*s3io.Writer, error) {
	key, err := n.key()
	if err == nil {
		err = n.complete(ctx)
	}
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.w != nil {
		return n.w, nil
	}
	cond := s3io.Condition{IfAbsent: true, Exact: n.excl}
	var base *s3io.Object
	if n.obj.ETag != "" {
		o := n.obj
		if o.Key == key {
			cond = s3io.Condition{IfMatch: o.ETag}
		}
		if !n.cut {
			base = &o
		}
	}
	w := n.f.b.NewWriter(key, base, cond)
	w.Hold() // the close that fails may be that of a child, with which nothing ends
	if held := n.heldLocked(); len(held) > 0 && !n.cut {
		// A few bytes into a fresh writer: this waits for nothing.
		if _, err := w.WriteAt(ctx, held, 0); err != nil {
			w.Abort()
			return nil, err
		}
	}
	w.SetAttrs(n.wantLocked())
	if n.keeps {
		w.Keep()
	}
	n.w, n.cut = w, false
	return w, nil
}

// dropWriter forgets what was written and not committed. The gate is locked.
func (n *file) dropWriter() {
	n.mu.Lock()
	w := n.w
	n.w, n.cut, n.unsaved = nil, false, false
	n.mu.Unlock()
	if w != nil {
		w.Abort()
	}
}

// save commits what was written. A failure sticks: whatever is done to the
// content later reports it, until nobody has the file open for writing.
func (n *file) save(ctx context.Context) error {
	n.mu.Lock()
	unsaved, err := n.unsaved, n.err
	n.mu.Unlock()
	if err != nil || !unsaved {
		return err
	}
	return n.f.apart(ctx, "commit "+n.f.path(n), func(ctx context.Context) error {
		if err := n.begin(ctx); err != nil {
			return err
		}
		defer n.end()
		return n.commit(ctx)
	})
}

// saveUnlessOpen is commit for a file that no close will save. The gate is locked;
// end it by endBut.
func (n *file) saveUnlessOpen(ctx context.Context) (never bool, err error) {
	n.mu.Lock()
	open := n.writers > 0
	n.mu.Unlock()
	if open {
		return false, nil
	}
	if err = n.commit(ctx); err != nil {
		never = n.giveUp()
	}
	return never, err
}

// endBut is end, and takes a file out of the tree that never came to be.
func (n *file) endBut(never bool) {
	n.end()
	if never {
		n.vanish()
	}
}

// commit is save under the locked gate. Files without a name are not saved.
func (n *file) commit(ctx context.Context) error {
	n.mu.Lock()
	unsaved, err, orphan := n.unsaved, n.err, n.orphan
	n.mu.Unlock()
	if err != nil || !unsaved || orphan != nil {
		return err
	}
	return n.commitTo(ctx)
}

// commitTo commits to wherever the file is kept, also without a name.
func (n *file) commitTo(ctx context.Context) error {
	path := n.f.path(n)
	w, err := n.makeWriter(ctx)
	var o s3io.Object
	var want s3io.Attrs
	var changed int
	if err == nil {
		n.mu.Lock()
		want, changed = n.wantLocked(), n.changed
		n.mu.Unlock()
		o, err = w.Commit(ctx, want)
	}
	n.f.unsaved(path, err, true)
	n.mu.Lock()
	first := n.obj.ETag == ""
	n.mu.Unlock()
	if err == nil && first {
		n.appear()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.err = err
		return err
	}
	n.pinLocked(o, want, changed)
	n.unsaved = false
	if want.Xattrs != nil && o.Size > utimesCopyLimit { // they may have come too late for the upload
		n.x.changed = true
		n.changed = max(n.changed, 1)
		n.f.queue.add(n, never)
	}
	return nil
}

// publish commits what was written so far, as fsync would: something that has left
// the machine is needed again, and lies in the object then.
func (n *file) publish(ctx context.Context) error {
	return n.f.apart(ctx, "publish "+n.f.path(n), func(ctx context.Context) error {
		if err := n.begin(ctx); err != nil {
			return err
		}
		defer n.end()
		n.mu.Lock()
		unsaved, err := n.unsaved, n.err
		n.mu.Unlock()
		if err != nil || !unsaved {
			return err
		}
		return n.commitTo(ctx)
	})
}

// appear keeps the directory from believing listings that were asked for before
// the file was in S3.
func (n *file) appear() {
	n.f.tree.RLock()
	up, component := n.up, n.component()
	n.f.tree.RUnlock()
	up.listed(component)
}

// complete makes sure that the pinned object's metadata are known, so that
// what others keep there is carried over. Listings do not tell.
func (n *file) complete(ctx context.Context) error {
	n.mu.Lock()
	o := n.obj
	n.mu.Unlock()
	if o.ETag == "" || o.Head {
		return nil
	}
	whole, err := n.f.head(ctx, o)
	if err != nil {
		return err
	}
	if whole.ETag != o.ETag {
		return &fault{syscall.ESTALE, "the object was changed by somebody else"}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.obj = whole
	return nil
}

// writeAttrs writes changed attributes by a copy onto the object itself,
// unless a commit is going to do that.
func (n *file) writeAttrs(ctx context.Context) error {
	if err := n.begin(ctx); err != nil {
		return err
	}
	defer n.end()
	key, err := n.key()
	if err != nil {
		return nil // replaced or deleted: there is nothing to write to
	}
	n.mu.Lock()
	skip := n.changed == 0 || n.unsaved || n.orphan != nil || n.obj.ETag == ""
	n.mu.Unlock()
	if skip {
		return nil
	}
	_, err = n.copyTo(ctx, key, s3io.Condition{})
	return err
}

// copyTo copies the object with the attributes that the file has now and moves
// the pin to the copy. The gate is locked; a writer that has nothing to commit
// is dropped, because it knows the old pin.
func (n *file) copyTo(ctx context.Context, key string, c s3io.Condition) (old s3io.Object, err error) {
	if err := n.complete(ctx); err != nil {
		return old, err
	}
	n.dropWriter()
	n.mu.Lock()
	old = n.obj
	want, changed := n.wantLocked(), n.changed
	n.mu.Unlock()
	if key == old.Key {
		c = s3io.Condition{IfMatch: old.ETag}
	}
	o, err := n.f.b.Copy(ctx, old, key, want, c)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case err == nil:
		n.pinLocked(o, want, changed)
	case key == old.Key && o.ETag != "":
		n.pinLocked(o, want, changed) // wrongly encrypted, but the content is kept
	case key == old.Key && (isKind(err, s3io.Stale) || isKind(err, s3io.NotExist)):
		n.changed -= changed // somebody else's attributes stand
		n.x = xattrs{}
	}
	return old, err
}

// giveUp drops what could not be saved: the file shows its last committed content
// again, and one that never had any is to vanish. Who opened it for writing
// meanwhile keeps what there is, and the error. The gate is locked since saving
// failed: what others do to the content after that is not given up.
func (n *file) giveUp() (never bool) {
	n.mu.Lock()
	open, err := n.writers > 0, n.err
	n.mu.Unlock()
	if open {
		return false
	}
	if err != nil && n.f.keeping.Load() {
		_ = n.salvage(err) // noted in the log and Failures
	}
	n.dropWriter()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err, n.spoiled, n.kept = nil, true, false
	never = n.obj.ETag == "" && n.orphan == nil
	switch {
	case n.obj.ETag == "":
	case n.changed == 0:
		n.attr = n.f.fileAttributes(n.obj)
	default: // they counted on the commit
		n.f.queue.add(n, attrDelay)
	}
	return never
}

// vanish takes a file that never came to be out of the tree and tells the
// kernel. No lock may be held: the kernel may wait for an answer of ours first.
func (n *file) vanish() {
	n.f.tree.Lock()
	up, name, dead := n.up, n.name, n.dead
	n.f.buryLocked(n)
	n.f.tree.Unlock()
	if !dead {
		up.NotifyEntry(name)
	}
}
