package fs

import (
	"container/list"
	"sync"
	"time"

	"github.com/kmsfs/kmsfs/s3io"
)

// heads remembers what HEAD said about objects, for as long as listings show
// the same object: its ETag, and its time, because an ETag can be the same
// after an attribute change. The least recently used are forgotten.
type heads struct {
	mu    *sync.Mutex
	max   int
	known map[headKey]*list.Element // of head
	order *list.List                // most recently used first
}

// head is what is remembered of an object, and FS.clock from before S3 was asked.
type head struct {
	o     s3io.Object
	asked uint64
}

type headKey struct {
	key, etag string
	modified  time.Time
}

func newHeads(max int) heads {
	return heads{mu: new(sync.Mutex), max: max, known: make(map[headKey]*list.Element), order: list.New()}
}

// headKeyOf cuts the time to seconds: HEAD answers no finer, listings do.
func headKeyOf(o s3io.Object) headKey {
	return headKey{o.Key, o.ETag, o.LastModified.Truncate(time.Second).UTC()}
}

// get returns the whole of what a listing showed a part of.
func (h heads) get(listed s3io.Object) (s3io.Object, bool) {
	if listed.Head {
		return listed, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.known[headKeyOf(listed)]
	if e == nil {
		return s3io.Object{}, false
	}
	h.order.MoveToFront(e)
	return e.Value.(head).o, true
}

func (h heads) has(listed s3io.Object) bool {
	_, ok := h.get(listed)
	return ok
}

// put remembers o, unless an answer is known that was asked for later: an
// object can get other attributes within a second and keep its ETag.
func (h heads) put(o s3io.Object, asked uint64) {
	if !o.Head || o.LastModified.IsZero() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	k := headKeyOf(o)
	if e := h.known[k]; e != nil {
		if e.Value.(head).asked <= asked {
			e.Value = head{o, asked}
		}
		h.order.MoveToFront(e)
		return
	}
	h.known[k] = h.order.PushFront(head{o, asked})
	for h.order.Len() > h.max {
		oldest := h.order.Back()
		delete(h.known, headKeyOf(oldest.Value.(head).o))
		h.order.Remove(oldest)
	}
}
