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
	request context.Context

	mu      sync.Mutex
	done    chan struct{} // nil until somebody asks
	err     error         // set before done is closed
	over    chan struct{} // closed by stop; nil until somebody asks
	watched chan struct{} // closed when the watch has ended; nil until somebody asks
}

// patient returns the context for waits that serve the request ctx, and a
// function that ends it, to be called before the request is answered.
func patient(ctx context.Context) (*patience, func()) {
	p := &patience{request: ctx}
	return p, p.stop
}

// Deadline says that there is none: s3io sets its own.
func (p *patience) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value passes on what the request knows, such as who calls.
func (p *patience) Value(key any) any { return p.request.Value(key) }

// Err is errDying once the caller dies, context.Canceled after stop.
func (p *patience) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Done starts the watch.
func (p *patience) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		p.done = make(chan struct{})
		if p.err != nil {
			close(p.done)
			return p.done
		}
		p.over, p.watched = make(chan struct{}), make(chan struct{})
		go p.watch(p.over, p.watched)
	}
	return p.done
}

// end makes err the end, unless there was one.
func (p *patience) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return
	}
	p.err = err
	if p.done != nil {
		close(p.done)
	}
}

func (p *patience) stop() {
	p.end(context.Canceled)
	p.mu.Lock()
	over, watched := p.over, p.watched
	p.mu.Unlock()
	if watched != nil {
		close(over)
		<-watched
	}
}

// watch waits for a signal, then looks whether it was a deadly one.
func (p *patience) watch(over <-chan struct{}, watched chan<- struct{}) {
	defer close(watched)
	caller, ok := fuse.FromContext(p.request)
	if !ok {
		return
	}
	select {
	case <-p.request.Done():
	case <-over:
		return
	}
	tick := time.NewTicker(dyingInterval)
	defer tick.Stop()
	for !dying(caller.Pid) {
		select {
		case <-tick.C:
		case <-over:
			return
		}
	}
	p.end(errDying)
}
