package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/kmsfs/kmsfs/s3io"
)

var _ fusefs.NodeTmpfiler = (*dir)(nil)

// Tmpfile makes a file without a name (O_TMPFILE). It begins where an unlinked
// open file ends: it lives in what is written to it, until the last descriptor
// is closed, and it never gets a name, because link is refused.
func (d *dir) Tmpfile(ctx context.Context, flags uint32, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	if err := d.f.writable(); err != nil {
		return nil, nil, 0, d.f.answer("create a file without a name in", d.f.path(d), err)
	}
	n := d.f.newFile(s3io.Object{})
	n.attr = d.newAttributes(ctx, mode)
	n.unsaved, n.cut = true, true
	n.opens, n.writers = 1, 1
	n.keep(flags)
	n.orphan = &orphan{key: d.f.orphanKey()}
	n.up, n.name, n.dead = d, "(without a name)", true
	d.f.tree.Lock()
	ino := d.f.freeInoLocked(n.orphan.key)
	d.f.inos[ino] = n
	d.f.orphans[n] = true
	d.NewInode(ctx, n, fusefs.StableAttr{Mode: syscall.S_IFREG, Ino: ino, Gen: d.f.gen.Add(1)})
	d.f.tree.Unlock()
	d.f.entry(n, out)
	return n.EmbeddedInode(), &writeHandle{n: n}, d.f.direct(flags), 0
}
