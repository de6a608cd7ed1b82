package s3

// Packed is the number of blobs in the pack of a server with a directory.
func (s *Server) Packed() int {
	p := s.store.blobs.(*dirBlobs).pack
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.blobs)
}
