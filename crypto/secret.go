//go:build unix

package crypto

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// secret is a page that holds a key outside the garbage-collected heap, so
// that the collector never moves or copies it and wipe really ends it.
type secret struct{ page []byte }

// newSecret maps a page for n bytes and protects it from swap and core dumps
// as far as the system allows: an unprivileged process may be denied mlock.
func newSecret(n int) (*secret, error) {
	size := (n + unix.Getpagesize() - 1) &^ (unix.Getpagesize() - 1)
	page, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes for a key: %w", size, err)
	}
	_ = unix.Mlock(page)
	adviseSecret(page)
	return &secret{page: page[:n:size]}, nil
}

// bytes is the key; it must not be used after wipe.
func (s *secret) bytes() []byte { return s.page }

// wipe zeroes the key and unmaps its page, which also unlocks it.
func (s *secret) wipe() {
	clear(s.page)
	_ = unix.Munmap(s.page[:cap(s.page)])
	s.page = nil
}
