package fs

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// progressEvery is how often a long operation says in the log how far it is.
const progressEvery = 5 * time.Second

// progress is how far an operation on many objects is.
type progress struct {
	what string // constant

	mu        sync.Mutex // guards the fields below
	done, all int
	verb      string // what was done to so many: "copied"
}

// begin notes that all objects are to be done something to.
func (p *progress) begin(verb string, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.verb, p.done, p.all = verb, 0, all
}

// step notes one more that is done.
func (p *progress) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
}

// String says it in one line: "rename /a to /b: 1,200 of 5,000 objects copied".
func (p *progress) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == 0 {
		return p.what
	}
	return fmt.Sprintf("%s: %s of %s objects %s", p.what, grouped(p.done), grouped(p.all), p.verb)
}

// tell has the log told now and then, until stop is called.
func (p *progress) tell(log *slog.Logger) (stop func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				log.Info(p.String())
			case <-over:
				return
			}
		}
	}()
	return func() {
		close(over)
		<-done
	}
}

// grouped writes n with its thousands set apart.
func grouped(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}
