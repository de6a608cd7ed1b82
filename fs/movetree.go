package fs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"

	"github.com/kmsfs/kmsfs/s3io"
	"golang.org/x/sync/errgroup"
)

// tooLarge refuses to rename a large file where that rewrites it: mv(1) then
// copies by itself.
func (n *file) tooLarge() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if size := n.sizeLocked(); n.f.b.RenameRewrites() && size > rewriteLimit {
		return &fault{syscall.EXDEV, fmt.Sprintf("%d bytes would have to be sealed anew under the new name", size)}
	}
	return nil
}

// onlyDirs is tooLarge for directories: it refuses where there is any file in d.
func (d *dir) onlyDirs(ctx context.Context) error {
	if !d.f.b.RenameRewrites() {
		return nil
	}
	for _, n := range d.files() {
		if n.unwritten() {
			return &fault{syscall.EXDEV, n.f.path(n) + " would have to be sealed anew under its new name"}
		}
	}
	all, err := d.f.listAll(ctx, d.prefix())
	for _, o := range all {
		if !strings.HasSuffix(o.Key, "/") {
			return &fault{syscall.EXDEV, o.Key + " would have to be sealed anew under its new name"}
		}
	}
	return err
}

// transfer is the way of a directory's objects to other keys.
type transfer struct {
	f        *FS
	d, over  *dir   // over is replaced; nil where there is nothing
	from, to string // prefixes
	move     *s3io.Move
	progress *progress

	mu     sync.Mutex        // guards copies while they are made
	copies map[string]copied // by key of the source
}

// copied is what became of a source.
type copied struct {
	source string // ETag that it was copied with
	o      s3io.Object
}

// run copies every object to the same place below t.to, then deletes the
// sources. If a copy fails, those that were made are removed and nothing has
// changed.
func (t *transfer) run(ctx context.Context) error {
	if done := t.f.settleMoves(ctx, t); done {
		return nil
	}
	var there s3io.Object
	if t.over != nil {
		_, _ = t.over.xattrs(ctx) // known in case it has to come back
		var err error
		if there, err = t.over.empty(ctx); err != nil {
			return err
		}
	}
	sources, err := t.f.listAll(ctx, t.from)
	if err != nil {
		return err
	}
	if t.move, err = t.f.b.BeginMove(t.from, t.to, there.ETag != ""); err != nil {
		return err
	}
	t.progress.begin("copied", len(sources))
	if err = t.copyAll(ctx, sources, there); err == nil {
		err = t.move.Copied()
	}
	if err != nil {
		return t.takeBack(err)
	}
	// The copies are whole now. Should a source survive, both names show it.
	t.progress.begin("moved", len(sources))
	if err := t.deleteAll(ctx, sources); err != nil {
		t.f.moves.unsettled = append(t.f.moves.unsettled, t)
		return fmt.Errorf("copied to %s, but sources stay: %w", t.to, err)
	}
	if err := t.move.End(); err != nil { // the next mount finds no source
		t.f.log.Warn("a rename's end was not noted", "error", err)
	}
	return nil
}

// copyAll copies all sources, the directory's own marker last: until then an
// empty directory that is replaced has its attributes.
func (t *transfer) copyAll(ctx context.Context, sources []s3io.Object, there s3io.Object) error {
	below := sources
	if len(sources) > 0 && sources[0].Key == t.from {
		below = sources[1:]
	}
	limit, _ := t.f.b.Parallel()
	err := side(ctx, limit, below, func(ctx context.Context, o s3io.Object) error {
		return t.copy(ctx, o, s3io.Condition{IfAbsent: true})
	})
	if err != nil {
		return err
	}
	c := s3io.Condition{IfAbsent: true}
	if there.ETag != "" {
		c = s3io.Condition{IfMatch: there.ETag}
	}
	if len(below) < len(sources) {
		return t.copy(ctx, sources[0], c)
	}
	if len(sources) > 0 && there.ETag == "" {
		return nil // implied here as there
	}
	t.d.mu.Lock()
	want := t.d.wantLocked()
	t.d.mu.Unlock()
	o, err := t.f.b.Put(ctx, t.to, emptyBody(), 0, want, c)
	if err == nil {
		t.copies[t.from] = copied{o: o}
	}
	return err
}

// copy copies an object as it is. Its metadata have to be known for that.
func (t *transfer) copy(ctx context.Context, o s3io.Object, c s3io.Condition) error {
	whole, err := t.f.head(ctx, o)
	if err != nil {
		return err
	}
	made, err := t.move.Copy(ctx, whole, c)
	if err != nil {
		return err
	}
	if made.Meta == nil {
		made.Meta = whole.Meta
	}
	t.f.heads.put(made, t.f.clock.Add(1))
	if !strings.HasSuffix(o.Key, "/") { // the nodes of files know what follows
		made = s3io.Object{Key: made.Key, ETag: made.ETag, VersionID: made.VersionID, LastModified: made.LastModified, Encryption: made.Encryption}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.copies[o.Key] = copied{whole.ETag, made}
	t.progress.step()
	return nil
}

// deleteAll deletes the sources as they were copied. What somebody else made of
// one meanwhile stays.
func (t *transfer) deleteAll(ctx context.Context, sources []s3io.Object) error {
	_, limit := t.f.b.Parallel()
	return side(ctx, limit, sources, func(ctx context.Context, o s3io.Object) error {
		if ctx.Err() != nil {
			return nil // another has failed
		}
		o.ETag = t.copies[o.Key].source
		err := t.f.b.Delete(ctx, o)
		if isKind(err, s3io.Stale) {
			t.f.log.Warn("an object was changed by somebody else while it was renamed, and stays", "key", o.Key)
			err = nil
		}
		t.progress.step()
		return err
	})
}

// takeBack removes the copies that were made in vain.
func (t *transfer) takeBack(why error) error {
	if err := t.move.Settle(t.f.ctx); err != nil {
		t.f.moves.unsettled = append(t.f.moves.unsettled, t)
		return errors.Join(why, fmt.Errorf("copies stay: %w", err))
	}
	if c, replaced := t.copies[t.from]; replaced && t.over != nil {
		t.over.comeBack(c.o)
	}
	return why
}

// settleMoves tries once more to end renames that failed half-way, and reports
// whether t was one of them, and is complete now.
func (f *FS) settleMoves(ctx context.Context, t *transfer) (done bool) {
	var left []*transfer
	for _, old := range f.moves.unsettled {
		if err := old.move.Settle(ctx); err != nil {
			f.log.Warn("a rename stays half-way", "from", old.from, "to", old.to, "error", err)
			left = append(left, old)
		} else if old.move.Completes() && old.from == t.from && old.to == t.to {
			t.copies, done = old.copies, true
		}
	}
	f.moves.unsettled = left
	return done
}

// side does work on objects side by side and returns the first error.
func side(ctx context.Context, limit int, objects []s3io.Object, work func(context.Context, s3io.Object) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(limit)
	for _, o := range objects {
		g.Go(func() error { return work(ctx, o) })
	}
	return g.Wait()
}

// listAll returns everything under prefix, EXDEV if that is more than a rename
// should rewrite: mv(1) then copies by itself and shows what it does.
func (f *FS) listAll(ctx context.Context, prefix string) ([]s3io.Object, error) {
	var all []s3io.Object
	q := s3io.ListQuery{Prefix: prefix, Max: pageSize}
	for {
		page, err := f.b.List(ctx, q)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Objects...)
		if len(all) > renameLimit {
			return nil, &fault{syscall.EXDEV, fmt.Sprintf("more than %d objects would have to be copied", renameLimit)}
		}
		if page.Token == "" {
			return all, nil
		}
		q.Token = page.Token
	}
}
