package harness

import "slices"

// With returns the server as mounts see it that have further variables, as
// NAME=VALUE, in their environment.
func (s *Server) With(variables ...string) *Server {
	other := *s
	other.env = append(slices.Clone(s.env), variables...)
	return &other
}
