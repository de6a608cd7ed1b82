//go:build unix

package crypto

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// secret is a page that holds keys outside the garbage-collected heap, so
// that the collector never moves or copies them and wipe really ends them.
type secret struct {
	page     []byte
	unlocked error // why the page may be swapped out; nil if it may not
}

// newSecret maps a page for n bytes and protects it from swap and core dumps
// as far as the system allows: an unprivileged process may be denied mlock.
func newSecret(n int) (*secret, error) {
	size := (n + unix.Getpagesize() - 1) &^ (unix.Getpagesize() - 1)
	page, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes for a key: %w", size, err)
	}
	s := &secret{page: page[:n:size]}
	if err := unix.Mlock(page); err != nil {
		s.unlocked = fmt.Errorf("lock %d bytes for a key: %w", size, err)
	}
	adviseSecret(page)
	return s, nil
}

// bytes is what the page holds; it must not be used after wipe.
func (s *secret) bytes() []byte { return s.page }

// wipe zeroes the page and unmaps it, which also unlocks it.
func (s *secret) wipe() {
	clear(s.page)
	_ = unix.Munmap(s.page[:cap(s.page)])
	s.page = nil
}
