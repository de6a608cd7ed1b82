package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/kmsfs/kmsfs/s3io"
)

// FS is one bucket presented as a tree. See the package documentation for its
// locks and their order.
type FS struct {
	// Dependencies.
	b   *s3io.Bucket
	log *slog.Logger

	// Constant after New.
	o     Options
	born  time.Time // times of what has none
	ctx   context.Context
	abort context.CancelFunc
	root  *dir
	caps  s3io.Capabilities

	moves *moves // shared by what uses a key, locked by directory renames

	jobs  jobs
	heads heads
	queue *attrQueue
	prune *pruner
	gen   atomic.Uint64 // StableAttr.Gen: no two nodes share one
	clock atomic.Uint64 // ticks when something changes here, to tell older answers of S3 from newer ones
	held  atomic.Int64  // bytes of unlinked open files in memory

	tree    sync.RWMutex // guards links between nodes and the fields below
	inos    map[uint64]node
	orphans map[*file]bool // files without a name that are open

	mu        sync.Mutex // guards the fields below
	server    *fuse.Server
	mountedAt string
	last      string
	failures  map[string]failure // path to what could not be saved there
	elsewhere []string           // what could not be saved and is kept elsewhere, a line each

	keeping atomic.Bool // what fails from now on is kept
}

// New presents b. A bucket that can be written to is probed first, if that has
// not been done, and what an earlier mount of this identity left behind of
// files that were unlinked while open is removed.
func New(b *s3io.Bucket, o Options) (*FS, error) {
	o = o.withDefaults()
	ctx, abort := context.WithCancel(context.Background())
	f := &FS{
		b: b, log: o.Log, o: o, born: time.Now(), ctx: ctx, abort: abort,
		heads: newHeads(knownObjects),
		inos:  make(map[uint64]node), orphans: make(map[*file]bool), failures: make(map[string]failure),
	}
	f.moves = newMoves(&f.tree)
	f.queue, f.prune = newAttrQueue(f), newPruner(f)
	f.root = f.newRoot()
	if f.readOnly() {
		return f, nil
	}
	caps, err := b.Probe(ctx)
	if err != nil {
		abort()
		return nil, err
	}
	f.caps = caps
	if err := f.sweepOrphans(ctx); err != nil {
		f.log.Warn("files that were unlinked while open remain", "error", err)
	}
	return f, nil
}

func (f *FS) readOnly() bool {
	now, _ := f.b.ReadOnly()
	return now || f.o.ReadOnly
}

// writable is the answer to what would change a bucket that must not be.
func (f *FS) writable() error {
	if now, why := f.b.ReadOnly(); now {
		return &fault{syscall.EROFS, "the mount is read-only: " + why}
	}
	if f.o.ReadOnly {
		return &fault{syscall.EROFS, "the mount is read-only"}
	}
	return nil
}

// answer turns the outcome of an operation into an errno, and is the only
// place where this package logs failed operations: one line each, except for
// what is part of everyday life. The whole error is kept for LastError.
func (f *FS) answer(op, path string, err error) syscall.Errno {
	return f.report(op, path, err, errnoOf(err, false))
}

// answerCommit is answer for operations that make data durable.
func (f *FS) answerCommit(op, path string, err error) syscall.Errno {
	return f.report(op, path, err, errnoOf(err, true))
}

func (f *FS) report(op, path string, err error, errno syscall.Errno) syscall.Errno {
	switch errno {
	case 0:
	case syscall.ENOENT, syscall.EEXIST, syscall.ENOTEMPTY, syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG,
		syscall.EINVAL, syscall.EPERM, syscall.EXDEV, syscall.EINTR, errnoNoXattr:
		f.log.Debug("refused", "op", op, "path", path, "errno", errno.Error(), "error", err)
	default:
		f.log.Error("failed", "op", op, "path", path, "errno", errno.Error(), "error", err)
		f.mu.Lock()
		f.last = fmt.Sprintf("%s %s %q: %v", time.Now().UTC().Format(time.RFC3339), op, path, err)
		f.mu.Unlock()
	}
	return errno
}

// failure is what could not be saved under a path.
type failure struct {
	err  error
	told bool // a close, an fsync or the drain itself reports it
}

// unsaved notes that path could not be saved, or with nil that it now is.
func (f *FS) unsaved(path string, err error, told bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, known := f.failures[path]
	if err == nil {
		delete(f.failures, path)
	} else if known || len(f.failures) < maxFailures {
		f.failures[path] = failure{fmt.Errorf("%s: %w", path, err), told}
	}
}

// untold joins the failures that nobody was told of.
func (f *FS) untold() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, x := range f.failures {
		if !x.told {
			errs = append(errs, x.err)
		}
	}
	return errors.Join(errs...)
}

// LastError returns when and how the last operation failed, "" if none did.
func (f *FS) LastError() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// Failures lists what could not be saved since the mount and was not saved
// later, one line each, also where close or fsync reported it.
func (f *FS) Failures() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for _, x := range f.failures {
		lines = append(lines, x.err.Error())
	}
	lines = append(lines, f.elsewhere...)
	slices.Sort(lines)
	return lines
}

// apart does work on the mount's own context, so that nothing tears it, and
// waits for it unless the caller dies.
func (f *FS) apart(ctx context.Context, what string, work func(ctx context.Context) error) error {
	return f.apartAs(ctx, func() string { return what }, work)
}

// apartAs is apart for work that says at any time what it is.
func (f *FS) apartAs(ctx context.Context, what func() string, work func(ctx context.Context) error) error {
	wait, stop := patient(ctx)
	defer stop()
	done := make(chan error, 1)
	leave := f.jobs.enterAs(what)
	go func() {
		defer leave()
		done <- work(f.ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-wait.Done():
		return context.Cause(wait)
	}
}

// isKind reports whether err is an s3io error of the kind.
func isKind(err error, k s3io.Kind) bool {
	var e *s3io.Error
	return errors.As(err, &e) && e.Kind == k
}

// jobs counts work in flight and knows what it is.
type jobs struct {
	mu   sync.Mutex
	next int
	now  map[int]func() string
	idle chan struct{} // closed when now becomes empty; nil if nobody waits
}

// enter notes that what has begun; the result notes its end.
func (j *jobs) enter(what string) (leave func()) { return j.enterAs(func() string { return what }) }

func (j *jobs) enterAs(what func() string) (leave func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.now == nil {
		j.now = make(map[int]func() string)
	}
	id := j.next
	j.next++
	j.now[id] = what
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.now, id)
		if len(j.now) == 0 && j.idle != nil {
			close(j.idle)
			j.idle = nil
		}
	}
}

// wait returns when nothing is in flight.
func (j *jobs) wait(ctx context.Context) error {
	j.mu.Lock()
	if len(j.now) == 0 {
		j.mu.Unlock()
		return nil
	}
	if j.idle == nil {
		j.idle = make(chan struct{})
	}
	idle := j.idle
	j.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (j *jobs) list() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var lines []string
	for _, what := range j.now {
		lines = append(lines, what())
	}
	slices.Sort(lines)
	return lines
}
