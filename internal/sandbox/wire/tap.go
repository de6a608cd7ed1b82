package wire

import (
	"io"
	"net/http"
	"slices"
	"sync"
)

// A Tap sees a request as it arrives, before its signature is verified. Its body is written to what the Tap returns,
// unless that is nil, as it comes over the connection: with the framing of aws-chunked, and as far as it is read. The
// request must not be changed.
type Tap func(call Call, r *http.Request) io.Writer

// Taps are the observers of requests. The zero value has none.
type Taps struct {
	mu   sync.Mutex
	taps []*Tap
}

// Add has tap see every request from now on, until remove is called.
func (t *Taps) Add(tap Tap) (remove func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taps = append(t.taps, &tap)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.taps = slices.DeleteFunc(slices.Clone(t.taps), func(other *Tap) bool { return other == &tap })
	}
}

// attach shows the request to all taps, and its body as it is read.
func (t *Taps) attach(call Call, r *http.Request) {
	if t == nil {
		return
	}
	t.mu.Lock()
	taps := t.taps
	t.mu.Unlock()
	for _, tap := range taps {
		if w := (*tap)(call, r); w != nil {
			r.Body = readCloser{io.TeeReader(r.Body, w), r.Body}
		}
	}
}
