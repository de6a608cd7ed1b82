package fs

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/kmsfs/kmsfs/s3io"
	"golang.org/x/sync/errgroup"
)

// orphan is where the content of a file lives that lost its name while it was
// open: in memory, or under a key that nobody sees. A version that the bucket
// keeps anyway needs neither.
type orphan struct {
	key  string // reserved key for what has to be stored
	held []byte // content in memory, nil if there is none
}

// heldLocked returns the content that memory keeps, nil if it is elsewhere.
func (n *file) heldLocked() []byte {
	if n.orphan == nil {
		return nil
	}
	return n.orphan.held
}

// preserve copies what will be lost with the name to where descriptors find
// it, and returns the object to show then and its place. Nothing of n changes
// before bury is called. The gate is locked.
func (n *file) preserve(ctx context.Context) (s3io.Object, *orphan, error) {
	place := &orphan{key: n.f.orphanKey()}
	if _, err := n.xattrs(ctx); err != nil {
		n.f.log.Warn("extended attributes of an unlinked file are lost", "path", n.f.path(n), "error", err)
	}
	n.mu.Lock()
	unsaved, broken, size := n.unsaved, n.err != nil, n.sizeLocked()
	n.mu.Unlock()
	if unsaved && !broken {
		held, err := n.hold(size, n.readUnsaved)
		if err == nil {
			place.held = held
			return s3io.Object{}, place, nil
		}
		// What cannot be saved is told by the descriptors, and goes with the name.
		if err := n.commitTo(ctx); ctx.Err() != nil {
			return s3io.Object{}, nil, err
		}
	}
	n.mu.Lock()
	o, want := n.obj, n.wantLocked()
	n.mu.Unlock()
	if o.ETag == "" {
		place.held = []byte{}
		return s3io.Object{}, place, nil
	}
	if n.f.caps.Versioned && o.VersionID != "" && o.VersionID != "null" {
		return o, place, nil
	}
	held, err := n.hold(o.Size, func(p []byte) error { return n.f.fetch(ctx, o, p) })
	if err == nil {
		place.held = held
		return s3io.Object{}, place, nil
	}
	if o.Form == s3io.Foreign || isKind(n.readable(ctx, true), s3io.KeyRejected) { // not to be copied; descriptors get ESTALE
		return o, place, nil
	}
	copied, err := n.f.b.Copy(ctx, o, place.key, want, s3io.Condition{IfAbsent: true})
	return copied, place, err
}

// errNoRoom says that a file is too large to be held in memory.
var errNoRoom = errors.New("too large to be held in memory")

// hold reads size bytes into memory if there is room for them.
func (n *file) hold(size int64, read func([]byte) error) ([]byte, error) {
	if size > heldFile {
		return nil, errNoRoom
	}
	if n.f.held.Add(size) > heldTotal {
		n.f.held.Add(-size)
		return nil, errNoRoom
	}
	p := make([]byte, size)
	if err := read(p); err != nil {
		n.f.held.Add(-size)
		return nil, err
	}
	return p, nil
}

// readUnsaved fills p from what is not committed.
func (n *file) readUnsaved(p []byte) error {
	n.mu.Lock()
	w := n.w
	n.mu.Unlock()
	if w == nil || len(p) == 0 {
		return nil
	}
	k, err := w.ReadAt(p, 0, func(base s3io.Object, p []byte, off int64) error {
		r := n.f.b.NewReader(base)
		defer r.Close()
		return readFull(r.ReadAt(n.f.ctx, p, off))
	})
	if k == len(p) {
		return nil
	}
	return err
}

// fetch fills p from an object.
func (f *FS) fetch(ctx context.Context, o s3io.Object, p []byte) error {
	r := f.b.NewReader(o)
	defer r.Close()
	k, err := r.ReadAt(ctx, p, 0)
	if k == len(p) {
		return nil
	}
	return err
}

// discard removes what preserve made, when the name stays after all.
func (n *file) discard(ctx context.Context, o s3io.Object, place *orphan) {
	n.f.held.Add(-int64(len(place.held)))
	if o.Key == place.key && o.ETag != "" {
		if err := n.f.remove(ctx, o); err != nil {
			n.f.answerCommit("remove the copy of", n.f.path(n), err)
		}
	}
}

// bury takes the name away. An open file lives on at place. The gate is locked.
func (n *file) bury(o s3io.Object, place *orphan) {
	n.dropWriter()
	n.mu.Lock()
	n.changed = 0
	n.pinned = n.f.clock.Add(1)
	if place != nil {
		n.orphan, n.obj = place, o
	}
	closed := place != nil && n.opens == 0 // meanwhile, and lastClose saw no orphan
	n.mu.Unlock()
	n.f.tree.Lock()
	n.f.buryLocked(n)
	if place != nil {
		n.f.orphans[n] = true
	}
	n.f.tree.Unlock()
	if closed {
		n.dispose()
	}
}

// lastClose removes what was kept for descriptors alone.
func (n *file) lastClose() {
	n.mu.Lock()
	orphaned := n.orphan != nil
	n.mu.Unlock()
	if !orphaned {
		return
	}
	leave := n.f.jobs.enter("removal of " + n.f.path(n))
	defer leave()
	if n.begin(n.f.ctx) != nil {
		return
	}
	defer n.end()
	n.mu.Lock()
	again := n.opens > 0
	n.mu.Unlock()
	if !again {
		n.dispose()
	}
}

// dispose removes what was kept for descriptors that are no more. The gate is
// locked.
func (n *file) dispose() {
	n.dropWriter()
	n.mu.Lock()
	o, place := n.obj, n.orphan
	n.f.held.Add(-int64(len(place.held)))
	place.held, n.obj = nil, s3io.Object{}
	n.mu.Unlock()
	n.f.tree.Lock()
	delete(n.f.orphans, n)
	n.f.tree.Unlock()
	if o.Key != place.key || o.ETag == "" {
		return
	}
	if err := n.f.remove(n.f.ctx, o); err != nil {
		n.f.answerCommit("remove the rest of", n.f.path(n), err)
	}
}

// disposeAll is dispose for files that the kernel did not say were closed: it
// does not, of those that are closed just before it unmounts.
func (f *FS) disposeAll() {
	f.tree.RLock()
	left := slices.Collect(maps.Keys(f.orphans))
	f.tree.RUnlock()
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, n := range left {
		g.Go(func() error {
			if n.begin(f.ctx) == nil {
				n.dispose()
				n.end()
			}
			return nil
		})
	}
	_ = g.Wait() // failures are logged
}

// remove deletes a reserved object for good, also from a versioned bucket.
func (f *FS) remove(ctx context.Context, o s3io.Object) error {
	if o.VersionID != "" && o.VersionID != "null" {
		return f.b.DeleteVersion(ctx, o.Key, o.VersionID)
	}
	return f.b.Delete(ctx, o)
}

// orphanPrefix is where the mounts of this identity keep such files, each below
// a name of its own.
func (f *FS) orphanPrefix() string { return reservedName + "/open/" + f.b.Identity() + "/" }

func (f *FS) orphanKey() string {
	var id [16]byte
	rand.Read(id[:]) // never fails, says its documentation
	return f.orphanPrefix() + f.b.Process() + "/" + hex.EncodeToString(id[:])
}

// sweepOrphans removes what mounts of this identity left behind that have ended.
func (f *FS) sweepOrphans(ctx context.Context) error {
	q := s3io.ListQuery{Prefix: f.orphanPrefix(), Max: pageSize}
	for {
		page, err := f.b.List(ctx, q)
		if err != nil {
			return fmt.Errorf("list %s: %w", q.Prefix, err)
		}
		var g errgroup.Group
		g.SetLimit(parallel)
		for _, o := range page.Objects {
			owner, _, _ := strings.Cut(strings.TrimPrefix(o.Key, q.Prefix), "/")
			if !f.b.Lives(owner) {
				g.Go(func() error { return f.remove(ctx, o) })
			}
		}
		if err := g.Wait(); err != nil {
			return fmt.Errorf("remove what is left under %s: %w", q.Prefix, err)
		}
		if page.Token == "" {
			return nil
		}
		q.Token = page.Token
	}
}

func emptyBody() io.ReadSeeker { return bytes.NewReader(nil) }
