package s3io

import (
	"sync"
	"sync/atomic"

	"github.com/kmsfs/kmsfs/crypto"
)

// Stats counts what a Bucket did since Open.
type Stats struct {
	Requests            map[string]int64 // attempts by AWS operation name
	BytesSent           int64            // bodies, resent ones too
	BytesReceived       int64
	Objects             int64 // objects created and proven to be under the policy
	BucketKeyMismatches int64 // objects with a bucket key where none was wanted, or none where one was
	Unverified          int64 // answers that did not prove the policy
	Conflicts           int64 // changes by others that Options.OnConflict dealt with

	Buffered int64 // bytes of buffer memory that are in use now
	Spooled  int64 // bytes of content for which there is a place in the spool now

	Keys crypto.KeyStats // zero without Envelope
}

// counters are the live form of Stats.
type counters struct {
	sent, received, objects, bucketKey, unverified, conflicts atomic.Int64

	mu       sync.Mutex // guards requests
	requests map[string]int64
}

func (c *counters) request(op string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == nil {
		c.requests = make(map[string]int64)
	}
	c.requests[op]++
}

// Stats returns a copy of the counters.
func (b *Bucket) Stats() Stats {
	c := &b.counters
	s := Stats{
		Requests:            make(map[string]int64),
		BytesSent:           c.sent.Load(),
		BytesReceived:       c.received.Load(),
		Objects:             c.objects.Load(),
		BucketKeyMismatches: c.bucketKey.Load(),
		Unverified:          c.unverified.Load(),
		Conflicts:           c.conflicts.Load(),
	}
	for _, mem := range []*budget{b.writes.mem, b.writes.joint, b.readers.mem} {
		now, _ := mem.inUse()
		s.Buffered += now
	}
	if b.writes.spool != nil {
		s.Spooled = int64(b.writes.spool.inUse()) * frameSize
	}
	if b.sealing() {
		s.Keys = b.keys.Stats()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for op, n := range c.requests {
		s.Requests[op] = n
	}
	return s
}
