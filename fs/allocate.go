package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/kmsfs/kmsfs/s3io"
	"golang.org/x/sys/unix"
)

var (
	_ fusefs.FileAllocater = (*writeHandle)(nil)
	_ fusefs.FileLseeker   = (*writeHandle)(nil)
	_ fusefs.FileLseeker   = (*readHandle)(nil)
)

// Modes of fallocate(2) on Linux, where alone the kernel asks for it.
const (
	keepSize  = 0x01
	punchHole = 0x02
	zeroRange = 0x10
)

// Allocate is fallocate(2). Nothing is set aside: S3 has room, and what there is none
// for in memory and spool is refused when it is written. Holes read as zeros.
func (h *writeHandle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	n := h.n
	var zeros, grow bool
	switch mode {
	case 0:
		grow = true
	case keepSize:
	case punchHole | keepSize, zeroRange | keepSize:
		zeros = true
	case zeroRange:
		zeros, grow = true, true
	default:
		return syscall.ENOTSUP
	}
	end := int64(off + size)
	if end < 0 {
		return syscall.EFBIG
	}
	err := n.f.apart(ctx, "fallocate "+n.f.path(n), func(ctx context.Context) error {
		if err := n.begin(ctx); err != nil {
			return err
		}
		defer n.end()
		return n.allocate(ctx, int64(off), end, zeros, grow)
	})
	return n.f.answerCommit("fallocate", n.f.path(n), err)
}

// allocate makes [off, end) zeros, lets the file grow to end, or both. The gate is
// locked.
func (n *file) allocate(ctx context.Context, off, end int64, zeros, grow bool) error {
	n.mu.Lock()
	size, err := n.sizeLocked(), n.err
	n.mu.Unlock()
	zeros, grow = zeros && off < size, grow && end > size
	if err == nil && zeros {
		err = n.edit(ctx, func(w *s3io.Writer) error { return w.Zero(off, end-off) })
	}
	if err == nil && grow {
		err = n.edit(ctx, func(w *s3io.Writer) error { return w.Truncate(end) })
	}
	if err == nil && !zeros && !grow {
		err = n.touch(ctx)
	}
	return err
}

// Lseek is SEEK_DATA and SEEK_HOLE.
func (h *writeHandle) Lseek(_ context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	return h.n.seek(off, whence)
}

// Lseek is SEEK_DATA and SEEK_HOLE.
func (h *readHandle) Lseek(_ context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	return h.n.seek(off, whence)
}

// seek finds data everywhere, and one hole at the end: S3 stores zeros like all else.
func (n *file) seek(off uint64, whence uint32) (uint64, syscall.Errno) {
	n.mu.Lock()
	size := uint64(n.sizeLocked())
	n.mu.Unlock()
	switch {
	case off >= size:
		return 0, syscall.ENXIO
	case whence == unix.SEEK_DATA:
		return off, 0
	case whence == unix.SEEK_HOLE:
		return size, 0
	}
	return 0, syscall.EINVAL
}
