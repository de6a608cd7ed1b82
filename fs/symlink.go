package fs

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// targetMax is how long the target of a symlink can be, in bytes: PATH_MAX of
// Linux without the zero byte at its end.
const targetMax = 4095

// symlink is the face of a symlink: its target is the object's content, which
// nobody changes but by another node.
type symlink struct {
	*file
	target atomic.Pointer[string] // nil while not known
}

var (
	_ fusefs.NodeSymlinker  = (*dir)(nil)
	_ fusefs.NodeReadlinker = (*symlink)(nil)
)

// Symlink makes a symlink. Its target is stored as it is, whatever it names.
func (d *dir) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	attr := d.newAttributes(ctx, 0777)
	attr.typ = syscall.S_IFLNK
	return d.makeNode(ctx, "symlink", name, attr, target, out)
}

// Readlink returns the target. It asks S3 once in the life of a node, or of what
// somebody else made of it.
func (n *symlink) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	if known := n.target.Load(); known != nil {
		return []byte(*known), 0
	}
	wait, stop := patient(ctx)
	defer stop()
	target, err := n.readTarget(wait)
	if err != nil {
		return nil, n.f.answer("readlink", n.f.path(n.file), err)
	}
	n.target.Store(&target)
	return []byte(target), 0
}

// readTarget reads what may be of anybody's making.
func (n *symlink) readTarget(ctx context.Context) (string, error) {
	t := new(tap)
	defer t.close()
	p := make([]byte, targetMax+1)
	k, err := n.readAt(ctx, t, p, 0)
	target := string(p[:k])
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return "", err
	case target == "" || len(target) > targetMax || strings.ContainsRune(target, 0):
		return "", errors.New("the object is marked as a symlink, and its content is not the name of anything")
	}
	return target, nil
}

// Open is never asked for by the kernel, and would be that of a regular file.
func (n *symlink) Open(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, syscall.ELOOP
}
