package fs

import (
	"context"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// dyingInterval is how often a caller that was signalled is looked at again.
// The kernel tells of the first signal only: a SIGKILL that follows an
// ordinary signal is seen by nobody who does not look.
const dyingInterval = 200 * time.Millisecond

// patience is the context of a wait on behalf of a request. Unlike the
// request's own it does not end with any signal (Go programs signal themselves
// all the time, and C programs do not expect EINTR from files) but only when
// the caller is being killed. The watch begins when somebody first asks for
// Done, so requests that never wait pay nothing.
type patience struct {
	context.Context // never ends by itself
	request         context.Context
	end             context.CancelCauseFunc

	once    sync.Once
	watched chan struct{} // closed when the watch has ended
}

// patient returns the context for waits that serve the request ctx, and a
// function that ends it, to be called before the request is answered.
func patient(ctx context.Context) (*patience, func()) {
	inner, end := context.WithCancelCause(context.WithoutCancel(ctx))
	p := &patience{Context: inner, request: ctx, end: end, watched: make(chan struct{})}
	return p, p.stop
}

// Done starts the watch.
func (p *patience) Done() <-chan struct{} {
	p.once.Do(func() { go p.watch() })
	return p.Context.Done()
}

func (p *patience) stop() {
	p.once.Do(func() { close(p.watched) })
	p.end(nil)
	<-p.watched
}

func (p *patience) watch() {
	defer close(p.watched)
	caller, ok := fuse.FromContext(p.request)
	if !ok {
		return
	}
	select {
	case <-p.request.Done():
	case <-p.Context.Done():
		return
	}
	tick := time.NewTicker(dyingInterval)
	defer tick.Stop()
	for !dying(caller.Pid) {
		select {
		case <-tick.C:
		case <-p.Context.Done():
			return
		}
	}
	p.end(errDying)
}
