package s3io

import "golang.org/x/sys/unix"

// dontDump keeps mem out of core files, best effort: old kernels may refuse.
func dontDump(mem []byte) { _ = unix.Madvise(mem, unix.MADV_DONTDUMP) }
