package s3

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A change is one step of a transaction: exactly one field besides Bucket is set. What the journal replays is what
// was applied.
type change struct {
	Bucket   string
	Settings *settings    `json:",omitempty"` // creates or changes the bucket
	Drop     bool         `json:",omitempty"` // removes the bucket
	Put      *version     `json:",omitempty"` // becomes the newest; replaces the version of the same key and ID
	Remove   *versionName `json:",omitempty"`
	Retag    *versionName `json:",omitempty"`
	Begin    *upload      `json:",omitempty"`
	Part     *uploadPart  `json:",omitempty"` // replaces the part of the same number
	End      *endUpload   `json:",omitempty"`
}

type versionName struct{ Key, ID, Tags string }

type uploadPart struct {
	Upload string
	Part   part
}

// endUpload ends an upload; the blobs of its parts are removed but for those that a version took over.
type endUpload struct {
	Upload string
	Taken  []string
}

// A bucket is the index of one bucket, guarded by store.mu.
type bucket struct {
	settings
	keys     []string              // sorted; those that have a version
	versions map[string][]*version // by key; newest first, never empty
	uploads  map[string]*upload
}

// A store is the index of all buckets over the blobs.
//
// Lock order: commit, mu. A transaction decides, is written to the journal and applied under commit, so that
// conditions are atomic and the journal's order is the order of what happened; mu is held only over memory.
type store struct {
	blobs   blobs
	journal *journal // nil: nothing survives
	now     func() time.Time

	commit sync.Mutex

	mu      sync.RWMutex
	buckets map[string]*bucket
}

// newStore opens the store in dir, or one in memory if dir is empty.
func newStore(dir string, now func() time.Time) (*store, error) {
	s := &store{blobs: newMemoryBlobs(), now: now, buckets: map[string]*bucket{}}
	if dir == "" {
		return s, nil
	}
	if err := s.openDir(dir); err != nil {
		return nil, fmt.Errorf("open the storage in %s: %w", dir, err)
	}
	return s, nil
}

func (s *store) close() error {
	if s.journal == nil {
		return s.blobs.close()
	}
	s.commit.Lock()
	defer s.commit.Unlock()
	return errors.Join(s.journal.close(), s.blobs.close())
}

// view calls look with the bucket as it is; look must not block nor keep the bucket.
func (s *store) view(name string, look func(*bucket) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, ok := s.buckets[name]
	if !ok {
		return noSuchBucket(name)
	}
	return look(b)
}

// update is a transaction: it applies what decide returns on seeing the bucket as it is, or nothing.
func (s *store) update(name string, decide func(*bucket) ([]change, error)) error {
	garbage, err := s.transact(func() (changes []change, err error) {
		err = s.view(name, func(b *bucket) (err error) {
			changes, err = decide(b)
			return err
		})
		return changes, err
	})
	s.sweep(garbage)
	return err
}

// create makes a bucket.
func (s *store) create(set settings) error {
	_, err := s.transact(func() ([]change, error) {
		if s.view(set.Name, func(*bucket) error { return nil }) == nil {
			return nil, bucketExists(set.Name)
		}
		return []change{{Bucket: set.Name, Settings: &set}}, nil
	})
	return err
}

// transact writes down what decide returns and applies it, while nobody else decides. It returns the blobs that nothing
// needs any more.
func (s *store) transact(decide func() ([]change, error)) (garbage []string, err error) {
	s.commit.Lock()
	defer s.commit.Unlock()
	changes, err := decide()
	if err != nil || len(changes) == 0 {
		return nil, err
	}
	if s.journal != nil {
		if err := s.journal.append(changes); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.apply(changes), nil
}

// apply carries out changes and returns the blobs that nothing needs any more. The caller holds mu.
func (s *store) apply(changes []change) (garbage []string) {
	for _, c := range changes {
		b := s.buckets[c.Bucket]
		switch {
		case c.Settings != nil && b == nil:
			s.buckets[c.Bucket] = &bucket{settings: *c.Settings, versions: map[string][]*version{}, uploads: map[string]*upload{}}
		case c.Settings != nil:
			b.settings = *c.Settings
		case c.Drop:
			delete(s.buckets, c.Bucket)
		case c.Put != nil:
			garbage = append(garbage, b.remove(c.Put.Key, c.Put.ID)...)
			b.insert(c.Put)
		case c.Remove != nil:
			garbage = append(garbage, b.remove(c.Remove.Key, c.Remove.ID)...)
		case c.Retag != nil:
			b.retag(*c.Retag)
		case c.Begin != nil:
			c.Begin.Parts = map[int]part{}
			b.uploads[c.Begin.ID] = c.Begin
		case c.Part != nil:
			parts := b.uploads[c.Part.Upload].Parts
			if old, ok := parts[c.Part.Part.Number]; ok {
				garbage = append(garbage, old.Blob)
			}
			parts[c.Part.Part.Number] = c.Part.Part
		case c.End != nil:
			garbage = append(garbage, b.end(*c.End)...)
		}
	}
	return garbage
}

func (b *bucket) insert(v *version) {
	if len(b.versions[v.Key]) == 0 {
		i, _ := slices.BinarySearch(b.keys, v.Key)
		b.keys = slices.Insert(b.keys, i, strings.Clone(v.Key))
	}
	b.versions[v.Key] = append([]*version{v}, b.versions[v.Key]...)
	if v.Content != nil {
		v.Content.versions++
	}
}

func (b *bucket) remove(key, id string) (garbage []string) {
	all := b.versions[key]
	i := slices.IndexFunc(all, func(v *version) bool { return v.ID == id })
	if i < 0 {
		return nil
	}
	if c := all[i].Content; c != nil {
		if c.versions--; c.unused() {
			garbage = c.blobs()
		}
	}
	if all = slices.Delete(slices.Clone(all), i, i+1); len(all) > 0 {
		b.versions[key] = all
		return garbage
	}
	delete(b.versions, key)
	i, _ = slices.BinarySearch(b.keys, key)
	b.keys = slices.Delete(b.keys, i, i+1)
	return garbage
}

func (b *bucket) end(e endUpload) (garbage []string) {
	taken := make(map[string]bool, len(e.Taken))
	for _, blob := range e.Taken {
		taken[blob] = true
	}
	for _, p := range b.uploads[e.Upload].Parts {
		if !taken[p.Blob] {
			garbage = append(garbage, p.Blob)
		}
	}
	delete(b.uploads, e.Upload)
	return garbage
}

func (b *bucket) retag(name versionName) {
	for i, v := range b.versions[name.Key] {
		if v.ID == name.ID {
			changed := *v
			changed.Tags = name.Tags
			b.versions[name.Key][i] = &changed
		}
	}
}

// find returns a version of key: the newest if id is empty. It is nil if there is none.
func (b *bucket) find(key, id string) *version {
	for _, v := range b.versions[key] {
		if id == "" || v.ID == id {
			return v
		}
	}
	return nil
}

// current returns the newest version of key, or nil if there is none or it is a delete marker.
func (b *bucket) current(key string) *version {
	if v := b.find(key, ""); v != nil && !v.Marker {
		return v
	}
	return nil
}

// unused says whether nothing needs the blobs any more. The caller holds store.mu.
func (c *content) unused() bool { return c.versions == 0 && c.pins == 0 }

func (c *content) blobs() []string {
	ids := make([]string, len(c.Parts))
	for i, p := range c.Parts {
		ids[i] = p.Blob
	}
	return ids
}

// sweep removes blobs that nothing needs. What cannot be removed now is when the directory is opened again.
func (s *store) sweep(ids []string) {
	for _, id := range ids {
		if id != "" { // else it was discarded
			_ = s.blobs.remove(id)
		}
	}
}

// acquire returns the version that choose finds, whose blobs stay until release is called.
func (s *store) acquire(name string, choose func(*bucket) (*version, error)) (v *version, release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.buckets[name]
	if !ok {
		return nil, nil, noSuchBucket(name)
	}
	if v, err = choose(b); err != nil {
		return nil, nil, err
	}
	v.Content.pins++
	return v, sync.OnceFunc(func() { s.release(v.Content) }), nil
}

func (s *store) release(c *content) {
	s.mu.Lock()
	c.pins--
	unused := c.unused()
	s.mu.Unlock()
	if unused {
		s.sweep(c.blobs())
	}
}
