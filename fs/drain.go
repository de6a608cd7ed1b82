package fs

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Drain commits what is written and not committed, open files too, writes
// attributes that wait, and returns when nothing is in flight. The error lists
// what could not be saved and no close has reported. It may be called while the mount is in use.
func (f *FS) Drain(ctx context.Context) error {
	var errs []error
	for _, n := range f.root.files() {
		if err := n.save(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.path(n), err))
		}
	}
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
