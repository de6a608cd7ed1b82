package s3io

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/dustin/go-humanize"

	"github.com/kmsfs/kmsfs/crypto"
)

// A session is one multipart upload under way. CreateMultipartUpload, parts
// and copies run in the background, bounded by memory and the bucket's
// connections; the first error ends them all.
type session struct {
	b     *Bucket
	w     *Writer // told the first error, once
	attrs Attrs   // sent with CreateMultipartUpload

	ctx     context.Context // ends with the bucket, the first error, or abort
	cancel  context.CancelFunc
	created chan struct{}  // closed when the fields below are known
	up      upload         // valid if exists
	exists  bool           // CreateMultipartUpload succeeded
	seals   *crypto.Sealer // of all parts that are not copied; nil where nothing is sealed
	running sync.WaitGroup

	mu    sync.Mutex
	err   error // the first
	parts []part
	size  int64 // bytes of the file that are in parts
	count int   // parts that are on their way
	left  int64 // bytes of the file that are in them

	unsent []*pages // that came to nothing, and are held on

	whole bool    // the writer has given it all parts
	src   *Object // what parts were copied from; nil if it is known that they are of it
}

// newSession starts the upload of w, as the continuation of a sealed base
// where sp says so.
func newSession(w *Writer, a Attrs, sp *splice) *session {
	s := &session{b: w.b, w: w, attrs: a, created: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(w.b.ctx)
	w.b.writes.mu.Lock()
	w.b.writes.open[s] = struct{}{}
	w.b.writes.mu.Unlock()
	s.spawn(func() {
		defer close(s.created)
		if err := s.create(sp); err != nil {
			s.failed(err)
		}
	})
	return s
}

// create begins the upload and, where it is sealed, the message.
func (s *session) create(sp *splice) (err error) {
	var replaced int64
	switch {
	case sp != nil:
		s.seals, replaced = sp.open.Splice(), sp.replaced
	case s.b.seals(s.w.key):
		if s.seals, err = s.b.newSealer(s.ctx, opCreate, s.w.key); err != nil {
			return err
		}
	}
	s.up, err = s.b.beginUpload(s.ctx, s.w.key, s.attrs, func(ctx context.Context, h *heritage) error {
		return s.b.dress(ctx, h, s.seals, s.attrs, replaced)
	})
	s.exists = err == nil
	return err
}

// use says what is left of pages that are sent.
type use uint8

const (
	done    use = iota // of no use to anybody else: released at the end
	only               // the same, but held on if they cannot be sent and Writer.Hold says so
	parked             // read, and perhaps dropped, by the writer: they go to the spool
	kept               // read, and perhaps sent again, by the writer
	last               // the same, and the object ends with them
	closing            // of no use to anybody else, and the object ends with them
)

// mine says whether the writer has nothing to do with the pages any more.
func (u use) mine() bool { return u == done || u == only || u == closing }

// send uploads what p holds as part n. An abort waits for parts that are being
// sent, because S3 may keep one that it gets after the abort; only very large
// ones, which would take minutes, are cut short.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html
func (s *session) send(n int32, p *pages, then use) {
	if then != parked {
		p.leave()
	}
	if then.mine() {
		p.mu = new(sync.RWMutex) // nobody else reads them: parts are sealed side by side
	}
	size := p.have.prefix()
	s.run(size, func() (part, error) {
		sent, err := s.sendPages(n, p, size, then == last || then == closing)
		switch {
		case err != nil && then == only && s.w.holds.Load():
			s.keep(p)
		case then.mine():
			p.release()
		case then == parked:
			s.w.park(p)
		}
		return sent, err
	})
}

func (s *session) sendPages(n int32, p *pages, size int64, end bool) (part, error) {
	if err := s.enter(); err != nil {
		return part{}, err
	}
	defer s.exit()
	ctx := s.b.ctx
	if size > s.b.writes.inCore {
		ctx = s.ctx
	}
	if s.seals == nil {
		content, size := newBody(p)
		return s.b.uploadPart(ctx, s.up, n, content, size)
	}
	content, size, err := sealBody(s.seals, p.from, end, p)
	if err != nil {
		return part{}, classify(ctx, "seal a part of", s.w.key, err)
	}
	return s.b.uploadPart(ctx, s.up, n, content, size)
}

// copy makes part n of what src has there, pinned to src as it is now. Of a sealed
// src these are whole frames, with its header where the file begins and its final
// frame if the piece is final.
func (s *session) copy(n int32, src Object, p piece) {
	s.src = &src
	s.run(p.to-p.from, func() (part, error) {
		if err := s.enter(); err != nil {
			return part{}, err
		}
		defer s.exit()
		from, to := storedAt(src, p)
		return s.b.copyPart(s.b.ctx, s.up, n, src, from, to-from)
	})
}

// storedAt says which bytes of an object piece p of its content is.
func storedAt(o Object, p piece) (from, to int64) {
	if o.Form != Sealed {
		return p.from, p.to
	}
	if p.from > 0 {
		from = crypto.FrameOffset(crypto.FrameAt(p.from))
	}
	if p.final {
		return from, o.Stored
	}
	return from, crypto.FrameOffset(crypto.FrameAt(p.to))
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

// run does f, which makes a part of size bytes of the file, in the background. One
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

// wait returns when nothing runs any more: all parts in their order, and how much
// of the file they have, or the first error.
func (s *session) wait() ([]part, int64, error) {
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.parts, func(a, b part) int { return int(a.n - b.n) })
	return s.parts, s.size, s.err
}

// pinned makes sure, where the server does not compare ETags, that what was copied
// is of the object that was to be copied: if it is there now it was all the time.
func (s *session) pinned() error {
	if s.src == nil {
		return nil
	}
	ctx, deadline := s.b.reading(s.b.ctx)
	defer deadline.stop()
	err := s.b.unchanged(ctx, *s.src)
	if err == nil {
		s.src = nil
	}
	return err
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
	for _, p := range s.unsent {
		p.release()
	}
	s.unsent = nil
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
