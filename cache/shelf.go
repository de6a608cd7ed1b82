package cache

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

// entry is a value with its whole id. It is one holder of the value, until it
// is released; a value that is put twice has two entries.
type entry[V Shared] struct {
	id     [32]byte
	value  V
	group  string
	loaded time.Time
	due    time.Time // for a refresh

	held     *atomic.Int64
	released atomic.Bool
}

// release ends the entry's hold, once: ristretto may tell twice that an entry
// has left, or not at all.
func (e *entry[V]) release() {
	if !e.released.Swap(true) {
		e.held.Add(-1)
		e.value.Release()
	}
}

// maxAside bounds what is kept of what ristretto loses.
const maxAside = 64

// shelf keeps entries in ristretto, and aside what ristretto loses. One caller
// at a time: only OnExit comes from another goroutine.
type shelf[V Shared] struct {
	entries *ristretto.Cache[string, *entry[V]]
	aside   []*entry[V] // oldest first
	held    atomic.Int64
}

// open makes the shelf ready for use. hash is ristretto's own unless a test
// needs collisions.
func (s *shelf[V]) open(size int, hash func(string) (uint64, uint64)) (err error) {
	s.entries, err = ristretto.NewCache(&ristretto.Config[string, *entry[V]]{
		NumCounters:        10 * int64(size), // as ristretto recommends
		MaxCost:            int64(size),
		BufferItems:        64, // as ristretto recommends
		IgnoreInternalCost: true,
		KeyToHash:          hash,
		OnExit: func(e *entry[V]) {
			if e != nil { // nil is what was not there
				e.release()
			}
		},
	})
	return err
}

// get returns the entry of id, or nil.
func (s *shelf[V]) get(id [32]byte) *entry[V] {
	for _, e := range s.aside {
		if e.id == id {
			return e
		}
	}
	if e, ok := s.entries.Get(string(id[:])); ok && e.id == id {
		return e
	}
	return nil
}

// put becomes a holder of v, and keeps it instead of what has its id. Of what
// ristretto loses the newest are kept. The caller holds v meanwhile.
func (s *shelf[V]) put(id [32]byte, v V, loaded, due time.Time) {
	s.remove(id)
	hold := func() *entry[V] {
		v.Acquire() // cannot fail: the caller holds v
		s.held.Add(1)
		return &entry[V]{id: id, value: v, group: v.Group(), loaded: loaded, due: due, held: &s.held}
	}
	e := hold()
	s.entries.Set(string(id[:]), e, 1)
	s.entries.Wait()
	if s.get(id) == e {
		return
	}
	e.release() // if ristretto has not
	s.aside = append(s.aside, hold())
	if len(s.aside) > maxAside {
		s.aside[0].release()
		s.aside = slices.Delete(s.aside, 0, 1)
	}
}

// remove forgets the entry of id, if there is one.
func (s *shelf[V]) remove(id [32]byte) {
	s.removeAside(func(e *entry[V]) bool { return e.id == id })
	if s.get(id) != nil {
		s.entries.Del(string(id[:]))
	}
}

// removeAll forgets the entries that match.
func (s *shelf[V]) removeAll(match func(*entry[V]) bool) {
	s.removeAside(match)
	var gone []*entry[V]
	s.entries.IterValues(func(e *entry[V]) (stop bool) {
		if match(e) {
			gone = append(gone, e)
		}
		return false
	})
	for _, e := range gone {
		s.entries.Del(string(e.id[:]))
	}
	s.entries.Wait()
}

func (s *shelf[V]) removeAside(match func(*entry[V]) bool) {
	s.aside = slices.DeleteFunc(s.aside, func(e *entry[V]) bool {
		if !match(e) {
			return false
		}
		e.release()
		return true
	})
}

// clear forgets everything.
func (s *shelf[V]) clear() {
	s.removeAside(func(*entry[V]) bool { return true })
	s.entries.Clear()
}

// close forgets everything and ends ristretto's goroutines.
func (s *shelf[V]) close() {
	s.clear()
	s.entries.Close()
}
