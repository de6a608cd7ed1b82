package wire

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// A FaultKind is a way to go wrong.
type FaultKind int

const (
	Answer       FaultKind = iota // not applied: Status and Code are answered
	AnswerAfter                   // applied, then Status and Code are answered
	ResetBefore                   // not applied: the connection is reset
	ResetAfter                    // applied, then the connection is reset without an answer
	ResetBody                     // applied; the connection is reset after Cut bytes of the answer's body
	CutBody                       // applied; the connection is closed in good order after Cut bytes of the answer's body
	Slow                          // Delay before the request is served
	Hang                          // the request is not served until Release, or ever if the client goes first
	FlipByte                      // applied; the byte at offset Cut of the answer's body is inverted
	EditHeader                    // applied; Edit changes the headers of the answer
	HangAfter                     // applied; the answer is withheld until Release, and the connection reset then
	ResetRequest                  // not applied: the connection is reset after Cut bytes of the request's body
	FlipRequest                   // the byte at offset Cut of the request's body is inverted before the service sees it
	ShortBody                     // applied; the answer's body ends after Cut bytes, and its Content-Length says so
)

// A Fault says which requests go wrong and how.
type Fault struct {
	Service string // s3 or kms: what comes over the network to it, so not the calls that S3 makes to KMS; "" is anything

	Op    string // AWS operation; "" is any
	Key   string // object key, or KMS key id as the caller gives it; "" is any
	Skip  int    // matching requests that pass before the first one goes wrong
	Times int    // requests that go wrong; 0 is all

	Kind    FaultKind
	Status  int               // of Answer and AnswerAfter; 0 is 500. 200 gives an error in the body of a success
	Code    string            // error code; "" is InternalError
	Message string            // of the error; "" is the code
	Delay   time.Duration     // of Slow
	Edit    func(http.Header) // of EditHeader
	Cut     int64             // bytes of the body that pass, as they come over the connection
}

// Faults are the rules in force, tried in the order in which they were added: the first that matches is applied.
// The zero value has none.
type Faults struct {
	mu    sync.Mutex
	rules []*Rule
}

// A Rule is a Fault in force.
type Rule struct {
	fault    Fault
	faults   *Faults
	released chan struct{}
	release  sync.Once
	struck   chan struct{}
	strike   sync.Once

	seen, hits int // guarded by faults.mu
}

// Add puts a fault in force.
func (f *Faults) Add(fault Fault) *Rule {
	r := &Rule{fault: fault, faults: f, released: make(chan struct{}), struck: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, r)
	return r
}

// Clear removes all rules and releases what hangs.
func (f *Faults) Clear() {
	f.mu.Lock()
	rules := f.rules
	f.rules = nil
	f.mu.Unlock()
	for _, r := range rules {
		r.Release()
	}
}

// Hits returns how many requests went wrong by the rule.
func (r *Rule) Hits() int {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	return r.hits
}

// Struck is closed when a request has gone wrong by the rule for the first time: what hangs does so then, and what
// is applied has been.
func (r *Rule) Struck() <-chan struct{} { return r.struck }

func (r *Rule) hit() { r.strike.Do(func() { close(r.struck) }) }

// Release lets requests that hang by the rule go on, now and later.
func (r *Rule) Release() { r.release.Do(func() { close(r.released) }) }

// Remove takes the rule out of force and releases what hangs by it.
func (r *Rule) Remove() {
	r.faults.mu.Lock()
	for i, other := range r.faults.rules {
		if other == r {
			r.faults.rules = append(r.faults.rules[:i:i], r.faults.rules[i+1:]...)
			break
		}
	}
	r.faults.mu.Unlock()
	r.Release()
}

// take returns the rule that the request goes wrong by, or nil. service is
// empty for a call that is made without HTTP.
func (f *Faults) take(service, op, key string) *Rule {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if !r.fault.matches(service, op, key) {
			continue
		}
		if r.fault.Times > 0 && r.hits == r.fault.Times {
			continue
		}
		if r.seen++; r.seen <= r.fault.Skip {
			continue
		}
		r.hits++
		return r
	}
	return nil
}

func (f Fault) matches(service, op, key string) bool {
	return (f.Service == "" || f.Service == service) && (f.Op == "" || f.Op == op) && (f.Key == "" || f.Key == key)
}

// Call applies the rules to a call that is made without HTTP, such as one that S3 makes to KMS: kinds that would tear
// a connection or a body are internal failures.
func (f *Faults) Call(ctx context.Context, op, key string, do func() *Error) *Error {
	r := f.take("", op, key)
	if r == nil {
		return do()
	}
	defer r.hit()
	switch r.fault.Kind {
	case Answer:
		return r.err()
	case Slow, Hang:
		r.hit()
		if err := r.wait(ctx); err != nil {
			return Errorf(500, "InternalFailure", "%s: %v", op, err)
		}
		return do()
	case AnswerAfter:
		if err := do(); err != nil {
			return err
		}
		return r.err()
	case ResetBefore, ResetRequest:
		return Errorf(500, "InternalFailure", "%s: connection reset", op)
	case EditHeader:
		return do()
	}
	if err := do(); err != nil {
		return err
	}
	if r.fault.Kind == HangAfter {
		r.hit()
		_ = r.wait(ctx) // the same failure follows either way
	}
	return Errorf(500, "InternalFailure", "%s: connection reset", op)
}

// err is the error that the rule answers.
func (r *Rule) err() *Error {
	e := &Error{Status: r.fault.Status, Code: r.fault.Code, Message: r.fault.Message}
	if e.Status == 0 {
		e.Status = http.StatusInternalServerError
	}
	if e.Code == "" {
		e.Code = "InternalError"
	}
	if e.Message == "" {
		e.Message = e.Code
	}
	return e
}

// wait returns after the delay of Slow or the release of Hang, or with the context's error.
func (r *Rule) wait(ctx context.Context) error {
	var elapsed <-chan time.Time
	if r.fault.Kind == Slow {
		timer := time.NewTimer(r.fault.Delay)
		defer timer.Stop()
		elapsed = timer.C
	}
	select {
	case <-elapsed:
	case <-r.released:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
