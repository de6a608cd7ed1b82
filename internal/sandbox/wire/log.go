package wire

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// logLimit bounds the requests that a Log keeps, so that a sandbox may run for days.
const logLimit = 10_000

// A Request is one logged call.
type Request struct {
	Time     time.Time
	Service  string // s3 or kms
	Op       string // name of the AWS operation, such as PutObject
	Bucket   string
	Key      string // object key; for KMS the key id as the caller gave it
	Method   string
	Header   http.Header
	Query    url.Values
	Caller   string // ARN of the verified principal; empty if the signature was refused
	Status   int    // 0 while there is no answer
	Internal bool   // a KMS call that S3 made

	Context map[string]string // encryption context of a KMS call; must not be changed
}

// A Log holds the newest requests, and counters of all. The zero value is ready to use.
type Log struct {
	mu       sync.Mutex
	requests []*Request
	counts   map[string]int
	changed  chan struct{} // closed and replaced at every change; nil if nobody waits
}

// Requests returns copies of the newest requests, oldest first. Headers must not be changed.
func (l *Log) Requests() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Request, len(l.requests))
	for i, r := range l.requests {
		all[i] = *r
	}
	return all
}

// Count returns how often op was called since the last Reset, with any outcome.
func (l *Log) Count(op string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[op]
}

// Counts returns the number of calls by operation since the last Reset.
func (l *Log) Counts() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts)
}

// Reset forgets all requests and counters.
func (l *Log) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests, l.counts = nil, nil
}

// Wait returns when op was called at least n times since the last Reset, or with the context's error.
func (l *Log) Wait(ctx context.Context, op string, n int) error {
	for {
		l.mu.Lock()
		if l.counts[op] >= n {
			l.mu.Unlock()
			return nil
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Begin logs a request that has no answer yet; finish fills in its outcome: the last one counts.
// Both do nothing on a nil Log.
func (l *Log) Begin(r Request) (finish func(caller string, status int)) {
	if l == nil {
		return func(string, int) {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.requests) == 2*logLimit { // cut in bulk: cutting one by one would move the slice every time
		l.requests = append([]*Request(nil), l.requests[logLimit+1:]...)
	}
	l.requests = append(l.requests, &r)
	if l.counts == nil {
		l.counts = make(map[string]int)
	}
	l.counts[r.Op]++
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return func(caller string, status int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		r.Caller, r.Status = caller, status
	}
}
