package s3

import (
	"sync"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// meetings are the conditional writes under way. One that a delete of its key overtakes is answered 409, whatever it finds
// then; an upload has to be begun again after that.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
type meetings struct {
	mu      sync.Mutex
	now     map[*request]bool // whether it was overtaken
	planned map[string]int    // bucket/key to the writes that Conflict is to end
}

// Conflict lets the next n conditional writes to key meet another request: they are answered 409 and change nothing, but
// that an upload is gone.
func (s *Server) Conflict(bucket, key string, n int) {
	m := &s.meetings
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.planned == nil {
		m.planned = make(map[string]int)
	}
	m.planned[bucket+"/"+key] = n
}

// enter notes a write that begins, if it is conditional, until leave is called.
func (m *meetings) enter(r *request) (leave func()) {
	if r.Header.Get("If-Match") == "" && r.Header.Get("If-None-Match") == "" {
		return func() {}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now == nil {
		m.now = make(map[*request]bool)
	}
	m.now[r] = false
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.now, r)
	}
}

// overtake notes that key was deleted.
func (m *meetings) overtake(bucket, key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for r := range m.now {
		if r.Bucket == bucket && r.Key == key {
			m.now[r] = true
		}
	}
}

// check refuses a write that was overtaken.
func (m *meetings) check(r *request) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	overtaken, conditional := m.now[r]
	if name := r.Bucket + "/" + r.Key; conditional && m.planned[name] > 0 {
		m.planned[name]--
		overtaken = true
	}
	if !overtaken {
		return nil
	}
	return with(wire.Errorf(409, conflictCode, "The conditional request cannot succeed due to a conflicting operation against this resource."), "Key", r.Key)
}

const conflictCode = "ConditionalRequestConflict"

// dropOvertaken ends the upload that a Complete named which err says was overtaken.
func (s *Server) dropOvertaken(r *request, err error) error {
	if err == nil || answer(err).Code != conflictCode {
		return err
	}
	_ = s.store.update(r.Bucket, func(b *bucket) ([]change, error) {
		u, err := b.upload(r)
		if err != nil {
			return nil, err
		}
		return []change{{Bucket: r.Bucket, End: &endUpload{Upload: u.ID}}}, nil
	}) // aborted meanwhile: it is gone, too
	return err
}
