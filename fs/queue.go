package fs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// never is the delay of attribute changes that wait for a commit or unmount.
const never = time.Duration(math.MaxInt64)

// retryDelay is how long attributes that could not be written wait.
const retryDelay = 30 * time.Second

// attrQueue knows whose attributes changed after the last commit and writes
// them when they are due. Changes that follow each other cost one copy.
type attrQueue struct {
	f *FS

	mu     sync.Mutex
	due    map[node]time.Time // zero is never
	wake   chan struct{}      // has one element when due changed
	done   chan struct{}      // closed when run has ended; nil while it was not started
	cancel context.CancelFunc
}

func newAttrQueue(f *FS) *attrQueue {
	return &attrQueue{f: f, due: make(map[node]time.Time), wake: make(chan struct{}, 1)}
}

// add notes that n's attributes are to be written after delay, at the latest.
func (q *attrQueue) add(n node, delay time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var at time.Time
	if delay != never {
		at = time.Now().Add(delay)
	}
	if old, ok := q.due[n]; ok && (at.IsZero() || !old.IsZero() && old.Before(at)) {
		return
	}
	q.due[n] = at
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// start begins to write what is due; stop ends that.
func (q *attrQueue) start() {
	ctx, cancel := context.WithCancel(q.f.ctx)
	q.mu.Lock()
	q.cancel, q.done = cancel, make(chan struct{})
	done := q.done
	q.mu.Unlock()
	go func() {
		defer close(done)
		q.run(ctx)
	}()
}

func (q *attrQueue) stop() {
	q.mu.Lock()
	cancel, done := q.cancel, q.done
	q.mu.Unlock()
	if done != nil {
		cancel()
		<-done
	}
}

func (q *attrQueue) run(ctx context.Context) {
	for {
		now := time.Now()
		ready, next := q.take(func(_ node, at time.Time) bool { return !at.IsZero() && !at.After(now) })
		if len(ready) > 0 {
			_ = q.write(ctx, ready) // noted in the log, last_error and Failures
			continue
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-q.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// take removes and returns the nodes that want is true for, and says how long
// it is until the next of the others is due.
func (q *attrQueue) take(want func(node, time.Time) bool) ([]node, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var ready []node
	next := time.Hour
	for n, at := range q.due {
		if want(n, at) {
			ready = append(ready, n)
			delete(q.due, n)
		} else if !at.IsZero() {
			next = min(next, time.Until(at))
		}
	}
	return ready, next
}

// write writes the attributes of nodes side by side. What fails is queued
// again.
func (q *attrQueue) write(ctx context.Context, nodes []node) error {
	errs := make([]error, len(nodes))
	var g errgroup.Group
	g.SetLimit(parallel)
	for i, n := range nodes {
		g.Go(func() error {
			path := q.f.path(n)
			leave := q.f.jobs.enter("attributes of " + path)
			defer leave()
			err := n.writeAttrs(q.f.ctx)
			q.f.unsaved(path+" (attributes)", err, true)
			if err != nil {
				q.f.answerCommit("write attributes", path, err)
				errs[i] = fmt.Errorf("attributes of %s: %w", path, err)
			}
			if n.unwritten() && err != nil && ctx.Err() == nil {
				q.add(n, retryDelay)
			}
			q.f.settled(n)
			return nil
		})
	}
	_ = g.Wait() // each error has its place in errs
	return errors.Join(errs...)
}

// all writes everything that waits.
func (q *attrQueue) all(ctx context.Context) error {
	nodes, _ := q.take(func(node, time.Time) bool { return true })
	return q.write(ctx, nodes)
}

// under writes what waits in d and d itself.
func (q *attrQueue) under(ctx context.Context, d *dir) error {
	d.f.tree.RLock()
	mine := map[node]bool{d: true}
	for _, n := range d.kids {
		mine[n] = true
	}
	d.f.tree.RUnlock()
	nodes, _ := q.take(func(n node, _ time.Time) bool { return mine[n] })
	return q.write(ctx, nodes)
}

// list names what waits.
func (q *attrQueue) list() []string {
	q.mu.Lock()
	nodes := make([]node, 0, len(q.due))
	for n := range q.due {
		nodes = append(nodes, n)
	}
	q.mu.Unlock()
	var lines []string
	for _, n := range nodes {
		if n.unwritten() {
			lines = append(lines, q.f.path(n)+": attributes")
		}
	}
	return lines
}
