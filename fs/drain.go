package fs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
)

// Drain commits what is written and not committed, open files too, writes
// attributes that wait, and returns when nothing is in flight. The error lists
// what could not be saved and no close has reported. It may be called while the mount is in use.
func (f *FS) Drain(ctx context.Context) error {
	return f.drain(ctx, (*file).save)
}

// DrainAndKeep is Drain before the mount ends: what cannot be saved is handed to
// Options.Keep, also what fails after it. The error lists what is not kept either.
func (f *FS) DrainAndKeep(ctx context.Context) error {
	f.keeping.Store(true)
	return f.drain(ctx, (*file).saveOrKeep)
}

func (f *FS) drain(ctx context.Context, save func(*file, context.Context) error) error {
	files := slices.DeleteFunc(f.root.files(), func(n *file) bool { return !n.wanting() })
	errs := make([]error, len(files))
	var g errgroup.Group // without a limit: they share one deadline, and the bucket's connections
	for i, n := range files {
		g.Go(func() error {
			if err := save(n, ctx); err != nil {
				errs[i] = fmt.Errorf("%s: %w", f.path(n), err)
			}
			return nil
		})
	}
	_ = g.Wait() // each error has its place in errs
	done := make(chan error, 1)
	leave := f.jobs.enter("attributes")
	go func() {
		defer leave()
		done <- f.queue.all(f.ctx)
	}()
	select {
	case err := <-done:
		errs = append(errs, err)
	case <-ctx.Done():
		errs = append(errs, context.Cause(ctx))
	}
	return errors.Join(append(errs, f.jobs.wait(ctx), f.untold())...)
}

// wanting says whether the content is to be saved, or could not be.
func (n *file) wanting() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.unsaved || n.err != nil
}

// Pending lists what Drain waits for or would have to save now, one line each.
func (f *FS) Pending() []string {
	var lines []string
	for _, n := range f.root.files() {
		n.mu.Lock()
		unsaved, size := n.unsaved, n.sizeLocked()
		n.mu.Unlock()
		if unsaved {
			lines = append(lines, fmt.Sprintf("%s: %d bytes not committed", f.path(n), size))
		}
	}
	lines = append(lines, f.queue.list()...)
	lines = append(lines, f.jobs.list()...)
	lines = append(lines, f.b.Busy()...)
	slices.Sort(lines)
	return slices.Compact(lines)
}
