package crypto

import "golang.org/x/sys/unix"

// adviseSecret keeps page out of core dumps and of forked children. Old
// kernels know neither, which leaves the page as safe as other memory.
func adviseSecret(page []byte) {
	_ = unix.Madvise(page, unix.MADV_DONTDUMP)
	_ = unix.Madvise(page, unix.MADV_WIPEONFORK)
}
