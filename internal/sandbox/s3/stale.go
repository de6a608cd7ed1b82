package s3

import "slices"

// StaleListings has ListObjects answer as of now, whatever happens to the bucket, until fresh is called: AWS never does
// that, and others may. Everything else is as it is.
func (s *Server) StaleListings(name string) (fresh func(), err error) {
	old := &bucket{versions: map[string][]*version{}}
	err = s.store.view(name, func(b *bucket) error {
		old.keys = slices.Clone(b.keys)
		for key := range b.versions {
			if v := b.current(key); v != nil {
				old.versions[key] = []*version{v}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.stale.Store(name, old)
	return func() { s.stale.Delete(name) }, nil
}

// listed is the bucket as listings show it.
func (s *Server) listed(name string, now *bucket) *bucket {
	if old, ok := s.stale.Load(name); ok {
		return old.(*bucket)
	}
	return now
}
