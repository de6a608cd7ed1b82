package s3io

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/dustin/go-humanize"
)

// writes is what all writers of a bucket share: memory, spool, connections,
// and the work that goes on in the background.
type writes struct {
	mem    *budget
	spool  *spool        // nil if the bucket is read-only
	sends  chan struct{} // taken by every part while it is sent
	parts  schedule
	inCore int64 // largest part that is kept in memory

	mu     sync.Mutex
	tasks  int             // running in the background
	idle   chan struct{}   // closed when tasks fell to 0; nil while none wait
	active map[*Writer]int // writers with work under way, and how much
	open   map[*session]struct{}
}

// newWrites takes the share of o's resources that is for writing: half of the
// memory and, so that reads go on beside uploads, half of the connections.
func newWrites(o Options) (*writes, error) {
	parts, err := newSchedule(o.PartSize)
	if err != nil {
		return nil, err
	}
	w := &writes{
		mem:    newBudget(o.Memory / 2),
		sends:  make(chan struct{}, max(1, o.MaxConnections/2)),
		parts:  parts,
		inCore: o.Memory / 8,
		active: map[*Writer]int{},
		open:   map[*session]struct{}{},
	}
	if !o.ReadOnly {
		if w.spool, err = openSpool(o.SpoolDir, o.SpoolSize); err != nil {
			return nil, &Error{Kind: Misconfigured, Op: "open the spool", Hint: "check --spool-dir", Err: err}
		}
	}
	return w, nil
}

// background runs f for w; close waits for it.
func (s *writes) background(w *Writer, f func()) {
	s.mu.Lock()
	s.tasks++
	s.active[w]++
	s.mu.Unlock()
	go func() {
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.active[w]--; s.active[w] == 0 {
				delete(s.active, w)
			}
			if s.tasks--; s.tasks == 0 && s.idle != nil {
				close(s.idle)
				s.idle = nil
			}
		}()
		f()
	}()
}

// wait returns when nothing runs in the background any more.
func (s *writes) wait() {
	for {
		s.mu.Lock()
		if s.tasks == 0 {
			s.mu.Unlock()
			return
		}
		if s.idle == nil {
			s.idle = make(chan struct{})
		}
		idle := s.idle
		s.mu.Unlock()
		<-idle
	}
}

// close aborts the uploads of writers that nobody ended, waits for the
// background work, which ends early when the bucket's context does, and frees
// memory and spool. Writers are of no use after it.
func (s *writes) close(context.Context) error {
	s.wait()
	s.mu.Lock()
	left := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	for _, up := range left {
		up.w.Abort()
	}
	s.wait()
	s.mem.close()
	if s.spool == nil {
		return nil
	}
	return s.spool.close()
}

// Busy returns a line for every file that is being uploaded or committed now,
// as umount shows them: "backup.tar: 3 parts, 48 MiB left".
func (b *Bucket) Busy() []string {
	b.writes.mu.Lock()
	var active []*Writer
	for w := range b.writes.active {
		active = append(active, w)
	}
	b.writes.mu.Unlock()
	var lines []string
	for _, w := range active {
		lines = append(lines, w.busy())
	}
	sort.Strings(lines)
	return lines
}

// Identity returns the UUID of this mount: the same for every mount of the
// same bucket and prefix with the same state directory.
func (b *Bucket) Identity() string { return b.journal.identity() }

// Process returns a name that no other live mount of this identity has.
func (b *Bucket) Process() string { return b.journal.process() }

// Lives reports whether the mount of this identity with that Process lives.
func (b *Bucket) Lives(process string) bool { return b.journal.lives(process) }

// CleanUp aborts the uploads that crashed mounts of this identity left behind,
// and no others. What it could not abort it tries again when called next.
func (b *Bucket) CleanUp(ctx context.Context) error {
	return b.journal.eachStale(func(left []entry) error {
		var errs []error
		for _, e := range left {
			err := b.abortUpload(ctx, upload{key: e.Key, id: e.Upload})
			if err != nil && KindOf(err) != NotExist {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
}

// A session is one multipart upload under way. CreateMultipartUpload, parts
// and copies run in the background, bounded by memory and the bucket's
// connections; the first error ends them all.
type session struct {
	b     *Bucket
	w     *Writer // told the first error, once
	attrs Attrs   // sent with CreateMultipartUpload

	ctx     context.Context // ends with the bucket, the first error, or abort
	cancel  context.CancelFunc
	created chan struct{} // closed when up is known
	up      upload        // valid if exists
	exists  bool          // CreateMultipartUpload succeeded
	running sync.WaitGroup

	mu    sync.Mutex
	err   error // the first
	parts []part
	size  int64 // bytes of parts
	count int   // parts that are on their way
	left  int64 // bytes of them
}

// newSession starts the upload of w.
func newSession(w *Writer, a Attrs) *session {
	s := &session{b: w.b, w: w, attrs: a, created: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(w.b.ctx)
	w.b.writes.mu.Lock()
	w.b.writes.open[s] = struct{}{}
	w.b.writes.mu.Unlock()
	s.spawn(func() {
		defer close(s.created)
		up, err := s.b.createUpload(s.ctx, w.key, a)
		if err != nil {
			s.failed(err)
			return
		}
		s.up, s.exists = up, true
	})
	return s
}

// send uploads what p holds as part n; free says that p is of no use to
// anybody else and is released at the end. An abort waits for parts that are
// being sent, because S3 may keep one that it gets after the abort; only very
// large ones, which would take minutes, are cut short.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html
func (s *session) send(n int32, p *pages, free bool) {
	p.leave()
	content, size := newBody(p)
	s.run(size, func() (part, error) {
		if free {
			defer p.release()
		}
		if err := s.enter(); err != nil {
			return part{}, err
		}
		defer s.exit()
		ctx := s.b.ctx
		if size > s.b.writes.inCore {
			ctx = s.ctx
		}
		return s.b.uploadPart(ctx, s.up, n, content, size)
	})
}

// copy copies the first size bytes of src to the k parts from 1, all pinned to
// src as it is now.
func (s *session) copy(src Object, size int64, k int32) {
	for i := range k {
		off, n := pieceOf(size, k, i)
		s.run(n, func() (part, error) {
			if err := s.enter(); err != nil {
				return part{}, err
			}
			defer s.exit()
			return s.b.copyPart(s.b.ctx, s.up, i+1, src, off, n)
		})
	}
}

// enter waits for the upload to exist and for a connection.
func (s *session) enter() error {
	<-s.created
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	select {
	case s.b.writes.sends <- struct{}{}:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func (s *session) exit() { <-s.b.writes.sends }

// run does f, which makes a part of size bytes, in the background. One
// goroutine at a time calls it, and none after wait.
func (s *session) run(size int64, f func() (part, error)) {
	s.mu.Lock()
	s.count++
	s.left += size
	s.mu.Unlock()
	s.spawn(func() {
		p, err := f()
		s.mu.Lock()
		s.count--
		s.left -= size
		if err == nil {
			s.parts = append(s.parts, p)
			s.size += size
		}
		s.mu.Unlock()
		if err != nil {
			s.failed(err)
		}
	})
}

func (s *session) spawn(f func()) {
	s.running.Add(1)
	s.b.writes.background(s.w, func() {
		defer s.running.Done()
		f()
	})
}

// failed ends the upload for the first error.
func (s *session) failed(err error) {
	if s.stop(err) {
		s.w.fail(err)
	}
}

// stop ends what runs and says whether err is the first reason to do so. It
// does not wait.
func (s *session) stop(err error) bool {
	s.mu.Lock()
	first := s.err == nil
	if first {
		s.err = err
	}
	s.mu.Unlock()
	s.cancel()
	return first
}

// wait returns when nothing runs any more: all parts in their order and their
// size, or the first error.
func (s *session) wait() ([]part, int64, error) {
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.parts, func(a, b part) int { return int(a.n - b.n) })
	return s.parts, s.size, s.err
}

// end forgets the upload.
func (s *session) end() {
	s.cancel()
	s.b.writes.mu.Lock()
	defer s.b.writes.mu.Unlock()
	delete(s.b.writes.open, s)
}

// abort ends the upload and waits until S3 has dropped its parts. An upload
// that cannot be aborted stays in the journal for the next mount.
func (s *session) abort() error {
	defer s.end()
	s.stop(errAborted)
	s.running.Wait()
	if !s.exists {
		return nil
	}
	if err := s.b.abortUpload(s.b.ctx, s.up); err != nil && KindOf(err) != NotExist {
		return err
	}
	return nil
}

// progress says what is on its way: "3 parts, 48 MiB left".
func (s *session) progress() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == 0 {
		return "completing"
	}
	noun := "parts"
	if s.count == 1 {
		noun = strings.TrimSuffix(noun, "s")
	}
	return fmt.Sprintf("%d %s, %s left", s.count, noun, humanize.IBytes(uint64(s.left)))
}
