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

// moved follows the copy of the file's object.
func (n *file) moved(copies map[string]s3io.Object) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if o, ok := copies[n.obj.Key]; ok && n.obj.ETag != "" {
		n.pinLocked(o, s3io.Attrs{Meta: o.Meta}, 0)
	}
}

// moved follows the copy of the directory's marker, which is empty where there
// was none.
func (d *dir) moved(marker s3io.Object) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.marker = marker
}

// moveAll copies every object under from to the same place under to, then
// deletes the sources, and returns the copies by their old keys. If a copy
// fails, those that were made are removed and nothing has changed.
func (f *FS) moveAll(ctx context.Context, d *dir, from, to string) (map[string]s3io.Object, error) {
	sources, err := f.listAll(ctx, from)
	if err != nil {
		return nil, err
	}
	copies := make(map[string]s3io.Object, len(sources)+1)
	var mu sync.Mutex
	err = side(ctx, sources, func(ctx context.Context, o s3io.Object) error {
		c, err := f.copyAs(ctx, o, to+strings.TrimPrefix(o.Key, from))
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			copies[o.Key] = c
		}
		return err
	})
	if err == nil && len(sources) == 0 { // only implied, by files that are gone: keep it
		d.mu.Lock()
		want := d.wantLocked()
		d.mu.Unlock()
		copies[from], err = f.b.Put(ctx, to, emptyBody(), 0, want, s3io.Condition{IfAbsent: true})
	}
	if err != nil {
		return nil, errors.Join(err, f.undo(copies))
	}
	// The copies are whole now. Should a source survive, both names show it.
	if err := side(ctx, sources, f.b.Delete); err != nil {
		return nil, fmt.Errorf("copied to %s, but sources stay: %w", to, err)
	}
	return copies, nil
}

// undo removes copies that were made in vain.
func (f *FS) undo(copies map[string]s3io.Object) error {
	made := make([]s3io.Object, 0, len(copies))
	for _, o := range copies {
		made = append(made, o)
	}
	if err := side(f.ctx, made, f.b.Delete); err != nil {
		return fmt.Errorf("copies stay: %w", err)
	}
	return nil
}

// side does work on objects side by side and returns the first error.
func side(ctx context.Context, objects []s3io.Object, work func(context.Context, s3io.Object) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, o := range objects {
		g.Go(func() error { return work(ctx, o) })
	}
	return g.Wait()
}

// copyAs copies an object as it is. Its metadata have to be known for that.
func (f *FS) copyAs(ctx context.Context, o s3io.Object, key string) (s3io.Object, error) {
	whole, err := f.head(ctx, o)
	if err != nil {
		return s3io.Object{}, err
	}
	c, err := f.b.Copy(ctx, whole, key, s3io.Attrs{Meta: whole.Meta}, s3io.Condition{IfAbsent: true})
	if err == nil && c.Meta == nil {
		c.Meta = whole.Meta
	}
	return c, err
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
