package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/kmsfs/kmsfs/s3io"
)

// special is the face of a FIFO, socket or device node: the object is empty,
// its attributes say what it is. The kernel opens these by itself.
type special struct{ *file }

var _ fusefs.NodeMknoder = (*dir)(nil)

// face returns the operations that the kernel is offered for a file, and the
// type that it is told. A node keeps both for life.
func (n *file) face() (ops fusefs.InodeEmbedder, typ uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch typ = n.attr.typeOr(syscall.S_IFREG); typ {
	case syscall.S_IFREG:
		return n, typ
	case syscall.S_IFLNK:
		return &symlink{file: n}, typ
	}
	return &special{n}, typ
}

// nodeOf returns the node behind a face.
func nodeOf(ops fusefs.InodeEmbedder) node {
	switch ops := ops.(type) {
	case *symlink:
		return ops.file
	case *special:
		return ops.file
	}
	return ops.(node)
}

// Open is never asked for by the kernel, and would be that of a regular file.
func (n *special) Open(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, syscall.ENXIO
}

// becomes reports whether somebody else made another type of file of n, which
// takes a new node even where the content, and so the ETag, is the same.
func (n *file) becomes(o s3io.Object, before uint64) bool {
	if !o.Head || !n.f.o.PosixAttrs {
		return false
	}
	typ := n.f.fileAttributes(o).typ
	n.mu.Lock()
	defer n.mu.Unlock()
	return typ != n.attr.typ && !n.unsaved && n.busy == 0 && n.changed == 0 && n.pinned <= before
}

// Mknod makes a FIFO, socket, device node or empty file.
func (d *dir) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	attr := d.newAttributes(ctx, mode)
	if typ := mode & syscall.S_IFMT; typ != syscall.S_IFREG {
		attr.typ = typ
	}
	if attr.isDevice() {
		attr.rdev = dev
	}
	return d.makeNode(ctx, "mknod", name, attr, "", out)
}

// makeNode makes what has its whole content from the beginning. It answers when
// S3 has it, and exactly once among all hosts: symlinks and empty files serve
// as locks.
func (d *dir) makeNode(ctx context.Context, op, name string, attr attributes, content string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	var made *file
	path := d.pathIn(name)
	component, err := d.checkNew(name)
	if err == nil && attr.typ != 0 && !d.f.o.PosixAttrs {
		err = &fault{syscall.EPERM, "without --posix-attrs nothing would tell it from a regular file"}
	}
	if err == nil {
		err = d.f.apart(ctx, op+" "+path, func(ctx context.Context) (err error) {
			made, err = d.makeFile(ctx, name, component, attr, content)
			return err
		})
	}
	if err != nil {
		return nil, d.f.answer(op, path, err)
	}
	d.f.entry(made, out)
	return made.EmbeddedInode(), 0
}

func (d *dir) makeFile(ctx context.Context, name, component string, attr attributes, content string) (*file, error) {
	u, err := d.f.moves.share(ctx, d)
	if err != nil {
		return nil, err
	}
	defer u.end()
	o, err := d.store(ctx, component, attr, content)
	if err != nil {
		return nil, err
	}
	n := d.f.newFile(o)
	n.attr = attr
	n.pinned = d.f.clock.Add(1)
	d.f.heads.put(o, n.pinned)
	d.f.tree.Lock()
	d.adoptLocked(ctx, name, n)
	d.f.tree.Unlock()
	d.made(component)
	return n, nil
}
