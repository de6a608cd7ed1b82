package s3

import (
	"errors"
	"slices"
)

// Multiply stores copies of an object under other names, as that many requests to copy it would, but shares its content
// among them: a bucket of 100,000 objects is made in a moment. A journal does not know of shared content, so this is
// for storage in memory.
func (s *Server) Multiply(bucketName, key string, names []string) error {
	if s.store.journal != nil {
		return errors.New("multiply: the storage is not in memory")
	}
	names = slices.Sorted(slices.Values(names)) // each is then put at the end of the index, or not far from it
	return s.store.update(bucketName, func(b *bucket) ([]change, error) {
		v := b.current(key)
		if v == nil {
			return nil, noSuchKey(key)
		}
		changes := make([]change, len(names))
		for i, name := range names {
			twin := *v
			twin.Key = name
			s.stamp(&twin, b, b.current(name))
			changes[i] = change{Bucket: bucketName, Put: &twin}
		}
		return changes, nil
	})
}
