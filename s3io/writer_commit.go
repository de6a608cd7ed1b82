package s3io

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/dustin/go-humanize"

	"github.com/kmsfs/kmsfs/crypto"
)

// result is what a commit came to.
type result struct {
	object Object
	err    error
}

// Commit makes the file, with the attributes a, the content of the key: others
// see the old object or the new one, never a mix. It returns the object as it
// is now; without changes since the last commit it sends nothing. It goes on
// when ctx ends, which only ends the wait, with Kind Interrupted.
//
// When somebody else was faster the error is Kind Stale, or Exists. Every
// error of the commit itself sticks, and leaves no upload behind.
//
// The attributes of a large file go with its first request. Where a differs
// from what was known then, they are replaced by an in-place copy; above 5 GiB
// that would take too long, and the returned Object shows the attributes that
// were really stored: the difference remains for the caller to save.
func (w *Writer) Commit(ctx context.Context, a Attrs) (Object, error) {
	if err := w.lock(ctx); err != nil {
		return Object{}, err
	}
	w.state.Lock()
	err := w.err
	if err == nil {
		w.setAttrsLocked(a)
	}
	a, dirty, latest := w.attrsLocked(), w.dirtyLocked(), w.latest
	w.sending = err == nil && dirty
	w.state.Unlock()
	if err != nil || !dirty {
		w.unlock()
		return latest, err
	}

	done := make(chan result, 1)
	w.b.writes.background(w, func() {
		defer w.unlock()
		o, err := w.commit(a)
		done <- result{o, err}
	})
	select {
	case r := <-done:
		return r.object, r.err
	case <-ctx.Done():
		return Object{}, w.interrupted(ctx.Err())
	}
}

// commit holds op.
func (w *Writer) commit(a Attrs) (Object, error) {
	w.state.Lock()
	o, sent, written := w.latest, w.stored, w.written
	w.state.Unlock()
	var err error
	if written {
		o, sent, err = w.publish(a)
	}
	if err == nil && !sameAttrs(a, sent) && o.stored() <= maxPart {
		o, err = w.b.Copy(w.b.ctx, o, w.key, a, Condition{IfMatch: o.ETag})
		sent = a
	}
	if err != nil {
		w.fail(w.refused(w.b.ctx, err))
		w.discard()
		w.state.Lock()
		defer w.state.Unlock()
		w.sending = false
		return Object{}, w.err // the first one, if a part was faster
	}
	w.proceed(o)
	w.state.Lock()
	defer w.state.Unlock()
	if sent.Xattrs == nil {
		sent.Xattrs = w.stored.Xattrs // carried over
	}
	w.latest, w.stored = o, Attrs{Meta: sent.Meta, Headers: o.Headers, Xattrs: sent.Xattrs}
	if sameAttrs(w.attrs, a) {
		w.attrs = w.stored // what could not be stored is the caller's affair now
	}
	w.written, w.sending = false, false
	return o, nil
}

// maxConflicts is how often one commit makes way for others.
const maxConflicts = 4

// publish stores the content, and returns the attributes that went with it. Where
// somebody else was faster it asks what to do, and tries again.
func (w *Writer) publish(a Attrs) (Object, Attrs, error) {
	for n := 0; ; n++ {
		o, sent, err := w.store(a)
		var e *Error
		if !errors.As(err, &e) || n == maxConflicts || e.Kind != Stale && e.Kind != Exists {
			return o, sent, err
		}
		if e.Op != opPut && e.Op != opComplete {
			e.Hint = "what was changed here lies over an object that somebody else replaced: the changes are lost"
			return o, sent, err
		}
		if status(err) == http.StatusConflict { // only after 412 does S3 keep the upload
			if !w.roam() {
				e.Hint = "what was written is lost: S3 wants it sent again after such a conflict, and it is held no more"
				return o, sent, err
			}
			w.halt()
		}
		w.stay()
		c, refused := w.b.reconcile(w.b.ctx, w.key, w.cond, err)
		if refused != nil {
			return Object{}, a, refused
		}
		w.cond = c
	}
}

// store is one attempt of publish: small files in one PutObject, others by
// completing their upload.
func (w *Writer) store(a Attrs) (Object, Attrs, error) {
	if w.roams {
		return w.storePatched(a)
	}
	size := w.Size()
	if err := w.load(w.b.ctx); err != nil {
		return Object{}, a, err
	}
	if err := w.fill(size); err != nil {
		return Object{}, a, err
	}
	if w.uploading() || w.copied > 0 || size > maxPut {
		up := w.session()
		if !up.whole {
			w.sendRest(up)
		}
		o, err := w.complete(up, size)
		return o, up.attrs, err
	}
	held := w.held()
	if _, n := newBody(held...); n != size {
		return Object{}, a, fmt.Errorf("%d bytes are held of a file of %d", n, size)
	}
	o, err := w.b.putPages(w.b.ctx, w.key, held, a, w.cond)
	return o, a, err
}

func (w *Writer) uploading() bool {
	w.state.Lock()
	defer w.state.Unlock()
	return w.up != nil
}

// sendRest sends the parts of a stream that were held back.
func (w *Writer) sendRest(up *session) {
	up.whole = true
	var tail *pages // one at most: fill has closed the gaps
	for _, p := range w.bufs {
		if p.have.prefix() > 0 {
			tail = p
		}
	}
	if w.head != nil {
		then := kept
		if tail == nil && w.next == 2 {
			then = last
		}
		up.send(1, w.head, then)
	}
	if tail == nil && w.b.seals(w.key) && (w.head == nil || w.next > 2) {
		tail = w.b.writes.newPages(w.start, 0, &w.mu) // an empty final frame
	}
	if tail != nil {
		up.send(w.next, tail, last)
	}
}

// complete makes the parts that were sent an object.
func (w *Writer) complete(up *session, size int64) (Object, error) {
	parts, n, err := up.wait()
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes were sent of a file of %d", n, size)
	}
	if err == nil {
		err = up.pinned()
	}
	if err == nil {
		err = w.Err() // aborted meanwhile
	}
	if err != nil {
		return Object{}, err
	}
	stored := size
	if w.b.seals(w.key) {
		stored = crypto.SealedSize(size)
	}
	o, err := w.b.completeUpload(w.b.ctx, up.up, parts, stored, w.cond)
	if err != nil {
		return Object{}, err
	}
	up.end()
	w.state.Lock()
	defer w.state.Unlock()
	w.up = nil
	return o, nil
}

// proceed goes on over o. A small file stays in memory while there is plenty: it
// would have to be read again.
func (w *Writer) proceed(o Object) {
	w.cond = Condition{IfMatch: o.ETag}
	used, _ := w.b.writes.mem.inUse()
	if !w.roams && o.Size < minPart && len(w.shows) == 0 && w.start == 0 && used <= w.b.writes.mem.total/2 {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.base = &o
		return
	}
	open, rest := w.openerOf(o), w.lastPage(o.Size)
	w.begin(&o, o.Size)
	w.goOn(open, rest)
}

// fail makes err the answer to every later call, and drops what is held as
// soon as nobody works with it.
func (w *Writer) fail(err error) {
	w.state.Lock()
	first := w.err == nil
	if first {
		w.err = err
	}
	up := w.up
	w.state.Unlock()
	if !first {
		return
	}
	if up != nil {
		up.stop(err)
	}
	w.b.writes.background(w, func() {
		w.op <- struct{}{}
		defer w.unlock()
		w.discard()
	})
}

// discard drops what is held and aborts the upload, and waits for that. Where Hold
// says so it drops nothing, and does not wait.
func (w *Writer) discard() {
	w.state.Lock()
	up, aborted := w.up, errors.Is(w.err, errAborted)
	w.up = nil
	w.state.Unlock()
	if w.holds.Load() && !aborted {
		if !w.gone {
			w.retake(up)
		}
		return
	}
	if up != nil {
		w.report(up.abort())
	}
	w.forget()
	w.gone = true
}

// Abort ends the Writer, drops what was not committed and aborts the upload in
// the background; Bucket.Close waits for that. A commit whose last request is
// out already is not undone.
func (w *Writer) Abort() {
	w.fail(errAborted)
	if !w.holds.Swap(false) {
		return
	}
	w.b.writes.background(w, func() { // what a failure before has left
		w.op <- struct{}{}
		defer w.unlock()
		w.forget()
		w.gone = true
	})
}

// busy describes what goes on, for Bucket.Busy.
func (w *Writer) busy() string {
	w.state.Lock()
	defer w.state.Unlock()
	what := "cleaning up"
	switch {
	case w.up != nil && w.err == nil:
		what = w.up.progress()
	case w.sending:
		what = humanize.IBytes(uint64(w.size)) + " left"
	}
	return w.key + ": " + what
}
