package s3io

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
)

// Bounds of what a Writer takes out of order.
const (
	window   = 16 << 20 // bytes that a write may lie ahead: requests of the kernel overtake each other
	maxGaps  = 256      // gaps that may be open at once
	sentGap  = 1 << 30  // bytes of the largest gap that is filled with zeros once parts were sent
	maxZeros = 64 << 30 // bytes of a file that were never written: S3 has no holes, so they are sent
)

// maxPut is the largest file that goes out in one PutObject. A larger one is
// sent again in smaller pieces when a connection breaks.
const maxPut = 64 << 20

// errAborted is what a Writer reports after Abort.
var errAborted = errors.New("the writer was aborted")

// A Writer replaces one object by a file that is written anywhere, over that
// object's content or over nothing. Nothing is visible before Commit, and then all
// at once. After it the Writer goes on over what it committed. It is safe for
// concurrent use; end it with Abort, also after the last Commit.
//
// It begins as a stream: a file that is written, or appended to, in order is sent
// while it is written. The first part is kept until the commit, so that a header
// can be patched at the end; those in between are sent as soon as they are full,
// and held no longer unless Keep says so. The first write that is not in order
// makes it roam: from then on it holds, in memory and spool, what was written,
// lets the base show through elsewhere, and sends nothing before the commit, which
// copies what did not change. Only what was sent and is not held any more is of no
// access: after a commit it lies in the base.
//
// Lock order: op, mu, state.
type Writer struct {
	b   *Bucket
	key string

	op chan struct{} // taken by whoever changes anything, also over I/O

	// Changed only by the holder of op.
	cond   Condition // of the next commit
	whole  bool      // nothing is copied: the content is sealed anew
	roams  bool      // bufs lie anywhere and apart, and nothing is sent before the commit
	splice *splice   // how frames join those of a sealed base; set by load

	// Of a stream, by the holder of op.
	copied int64 // bytes from 0 that an upload copies from base; the rest of it is read
	unread bool  // load has to be called before anything is written
	loaded int64 // up to where it has read base
	next   int32 // part number of bufs[0]
	start  int64 // offset of bufs[0] in the file

	keeps atomic.Bool // parts that were sent are held on
	holds atomic.Bool // what was written is held on when the Writer fails
	gone  bool        // it was dropped all the same; by the holder of op

	// mu guards what readers see; it is held over no I/O but that of the spool.
	mu    sync.RWMutex
	base  *Object  // what the file lies over
	shows spans    // of base, where nothing below is held; a stream shows one span from 0
	head  *pages   // the first part, full and not sent yet; nil before that and over a base
	sent  []*pages // parts that were sent and are held
	lost  spans    // what was sent and is held nowhere
	bufs  []*pages // what is being filled: one part, more when writes are out of order or roam

	state   sync.Mutex // guards the fields below, never held over I/O
	size    int64
	err     error
	written bool     // content differs from latest
	attrs   Attrs    // latest known
	stored  Attrs    // those of latest
	latest  Object   // as committed; the base before the first commit
	up      *session // nil until a part is full
	sending bool     // a commit is under way
}

// NewWriter returns a writer for key. Without a base it makes a new file whose
// first commit is subject to c. With a base it changes that object; c, if zero,
// becomes the condition that key still holds the base. The base may be of another
// key, whose content is then copied. Every later commit is conditional on the
// Writer's own last one. It sends nothing; what the server cannot copy of a base
// is read, by the first write of a stream or by the commit, and sent again.
//
// A Writer without a base, or with one of another key, is Dirty from the
// start: committed as it is, it makes an empty object, or a copy.
func (b *Bucket) NewWriter(key string, base *Object, c Condition) *Writer {
	return b.newWriter(key, base, c, false)
}

// newWriter is NewWriter; whole says that nothing of base is to be copied.
func (b *Bucket) newWriter(key string, base *Object, c Condition, whole bool) *Writer {
	w := &Writer{b: b, key: key, op: make(chan struct{}, 1), cond: c, whole: whole}
	w.written = base == nil || base.Key != key
	if base != nil {
		o := *base
		w.latest = o
		w.stored = Attrs{Meta: o.Meta, Headers: o.Headers}
		w.setAttrsLocked(Attrs{Meta: o.Meta})
		if c == (Condition{}) {
			w.cond.IfMatch = o.ETag
		}
		w.size = o.Size
		w.begin(&o, o.Size)
	} else {
		w.begin(nil, 0)
	}
	if ro, reason := b.ReadOnly(); ro {
		w.err = &Error{Kind: ReadOnlyBucket, Op: "write", Key: key, Err: errors.New(reason)}
	}
	return w
}

// begin lets the file start with the first n bytes of base and nothing else: what
// is held is dropped, and the upload, in one step for readers. Bytes that cannot be
// copied are read and sent again when there is more.
func (w *Writer) begin(base *Object, n int64) {
	w.halt()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropLocked()
	w.base, w.shows, w.start, w.next = base, upTo(n), 0, 1
	w.splice, w.roams = nil, false
	if w.copied = w.copyable(base, n); w.copied > 0 {
		w.start, w.next = w.copied, w.b.writes.parts.split(w.copied)+1
	}
	w.loaded, w.unread = w.copied, n > w.copied || base != nil && (n > 0 || base.Size == 0) && w.b.seals(w.key)
}

// lock takes op. ctx only ends the wait.
func (w *Writer) lock(ctx context.Context) error {
	select {
	case w.op <- struct{}{}:
		return nil
	default:
	}
	select {
	case w.op <- struct{}{}:
		return nil
	case <-ctx.Done():
		return w.interrupted(ctx.Err())
	}
}

func (w *Writer) unlock() { <-w.op }

func (w *Writer) interrupted(err error) error {
	return &Error{Kind: Interrupted, Op: "wait for the write", Key: w.key, Err: err}
}

// Size returns the size of the file as written so far. It never waits for I/O.
func (w *Writer) Size() int64 {
	w.state.Lock()
	defer w.state.Unlock()
	return w.size
}

// Keep has parts that are sent held on, in the spool, as long as there is room: who
// reads or rewrites them then needs no commit before. It is for files that are
// opened for reading and writing.
func (w *Writer) Keep() { w.keeps.Store(true) }

// Dirty says whether content or attributes differ from the last commit.
func (w *Writer) Dirty() bool {
	w.state.Lock()
	defer w.state.Unlock()
	return w.dirtyLocked()
}

func (w *Writer) dirtyLocked() bool { return w.written || !sameAttrs(w.attrs, w.stored) }

// Err returns the error that ended the Writer, if any: once a part or a commit
// came to nothing, every later call reports that.
func (w *Writer) Err() error {
	w.state.Lock()
	defer w.state.Unlock()
	return w.err
}

// SetAttrs tells the attributes as they are known now, so that they can go
// with the first request of a large file; Commit settles them.
func (w *Writer) SetAttrs(a Attrs) {
	w.state.Lock()
	defer w.state.Unlock()
	w.setAttrsLocked(a)
}

func (w *Writer) setAttrsLocked(a Attrs) {
	a.Meta, a.Xattrs = maps.Clone(a.Meta), maps.Clone(a.Xattrs)
	w.attrs = a
}

// attrsLocked returns the attributes for a request that is made now: what it
// replaces is the latest commit, if there was one.
func (w *Writer) attrsLocked() Attrs {
	a := w.attrs
	if a.Xattrs == nil {
		a.Xattrs = w.stored.Xattrs // as far as they are known: who may only write cannot read them
	}
	if w.latest.ETag != "" {
		latest := w.latest
		a.Base = &latest
	}
	return a
}

// sameAttrs says whether an object that was stored with the attributes b has
// the attributes a already.
func sameAttrs(a, b Attrs) bool {
	return maps.Equal(a.Meta, b.Meta) && (a.Headers == b.Headers || a.Headers == Headers{}) &&
		(a.Xattrs == nil || b.Xattrs != nil && maps.EqualFunc(a.Xattrs, b.Xattrs, bytes.Equal))
}
