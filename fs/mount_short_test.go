//go:build linux

package fs

import (
	"syscall"
	"testing"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/kmsfs/kmsfs/s3io"
)

// A write that the spool has room for a part of says so, but to the kernel's
// writeback, which does not look at how much of a mapping was taken.
func TestAMappingIsNeverWrittenInPart(t *testing.T) {
	for what, c := range map[string]struct {
		flags uint32
		n     uint32
		errno syscall.Errno
	}{
		"write only":       {syscall.O_WRONLY, 512 << 10, 0},
		"read and written": {syscall.O_RDWR, 512 << 10, syscall.ENOSPC},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.other() // sets the environment
			o := w.s3()
			o.Memory, o.SpoolSize = 16<<20, 1536<<10
			b, err := s3io.Open(t.Context(), o)
			check(t, err)
			f, err := New(b, defaults())
			check(t, err)
			fusefs.NewNodeFS(f.root, f.mountOptions())
			inode, h, _, errno := f.root.Create(t.Context(), "f", c.flags, 0644, new(fuse.EntryOut))
			n := inode.Operations().(*file)
			if errno != 0 {
				t.Fatal(errno)
			}
			check(t, n.truncate(t.Context(), 8<<20, fuse.SetAttrIn{}))
			block := make([]byte, 1<<20)
			_, errno = h.(*writeHandle).Write(t.Context(), block, 0)
			if errno != 0 {
				t.Fatal(errno)
			}
			k, errno := h.(*writeHandle).Write(t.Context(), block, 1<<20)
			if k != c.n || errno != c.errno {
				t.Errorf("%d bytes, %v", k, errno)
			}
			n.dropWriter()
			check(t, b.Close(t.Context()))
		})
	}
}
