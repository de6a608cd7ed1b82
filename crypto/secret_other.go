//go:build unix && !linux

package crypto

// adviseSecret has nothing to ask for: no portable advice keeps a page out of
// core dumps.
func adviseSecret([]byte) {}
