package fs

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/kmsfs/kmsfs/s3io"
	"golang.org/x/sys/unix"
)

// userPrefix begins the names of extended attributes that are kept. Others
// mean rights which this filesystem does not have.
const userPrefix = "user."

// xattrs are the kept extended attributes of a node, by their whole names.
type xattrs struct {
	all     map[string][]byte // nil while not known; replaced, never changed
	changed bool              // S3 does not know all of it
}

// apply replaces what there is, old if nothing changed it since, by what edit
// makes of a copy. fits is asked whether S3 takes that.
func (x *xattrs) apply(old map[string][]byte, edit, fits func(map[string][]byte) error) error {
	if x.all != nil {
		old = x.all
	}
	all := make(map[string][]byte, len(old)+1)
	maps.Copy(all, old)
	err := edit(all)
	if err == nil {
		err = fits(all)
	}
	if err == nil {
		*x = xattrs{all, true}
	}
	return err
}

// stored notes that S3 has what want says, unless that changed again meanwhile.
func (x *xattrs) stored(want s3io.Attrs) {
	if want.Xattrs != nil && maps.EqualFunc(x.all, want.Xattrs, bytes.Equal) {
		x.changed = false
	}
}

// bearer is a node with extended attributes.
type bearer interface {
	node
	stored() s3io.Object
	xattrs(ctx context.Context) (map[string][]byte, error) // not to be changed
	changeXattrs(ctx context.Context, edit func(all map[string][]byte) error) error
}

// xattrs returns the file's attributes, which may take a HEAD and KMS.
func (n *file) xattrs(ctx context.Context) (map[string][]byte, error) {
	n.mu.Lock()
	all, o := n.x.all, n.obj
	n.mu.Unlock()
	if all != nil || o.ETag == "" {
		return all, nil
	}
	all, err := n.f.b.Xattrs(ctx, o)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.x.all == nil && n.obj.ETag == o.ETag {
		n.x.all = all
	}
	return all, nil
}

// changeXattrs changes them as chmod changes the mode: shown at once, stored
// with the next commit or copy, or a little later.
func (n *file) changeXattrs(ctx context.Context, edit func(map[string][]byte) error) error {
	err := n.changeable(ctx)
	if err != nil {
		return err
	}
	old, err := n.xattrs(ctx)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	err = n.x.apply(old, edit, func(all map[string][]byte) error {
		want := n.wantLocked()
		want.Xattrs = all
		return n.f.b.Fits(n.obj.Key, want)
	})
	if err != nil {
		return err
	}
	n.attr.ctime = time.Now()
	n.changed++
	if n.w != nil {
		n.w.SetAttrs(n.wantLocked())
	}
	n.f.queue.add(n, attrDelay)
	return nil
}

// xattrs returns the attributes that the directory's marker has.
func (d *dir) xattrs(ctx context.Context) (map[string][]byte, error) {
	d.mu.Lock()
	all, marker := d.x.all, d.marker
	d.mu.Unlock()
	if all != nil || marker.ETag == "" {
		return all, nil
	}
	all, err := d.f.b.Xattrs(ctx, marker)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.x.all == nil && d.marker.ETag == marker.ETag {
		d.x.all = all
	}
	return all, nil
}

// changeXattrs is that of files. The root has no marker to keep them.
func (d *dir) changeXattrs(ctx context.Context, edit func(map[string][]byte) error) error {
	if d == d.f.root {
		return &fault{syscall.ENOTSUP, "nothing keeps the attributes of the mount's root"}
	}
	old, err := d.xattrs(ctx)
	if err != nil {
		return err
	}
	key := d.prefix()
	d.mu.Lock()
	defer d.mu.Unlock()
	err = d.x.apply(old, edit, func(all map[string][]byte) error {
		want := d.wantLocked()
		want.Xattrs = all
		return d.f.b.Fits(key, want)
	})
	if err != nil {
		return err
	}
	d.attr.ctime = time.Now()
	d.changed++
	d.f.queue.add(d, attrDelay)
	return nil
}

// getxattr answers getxattr(2).
func (f *FS) getxattr(ctx context.Context, n bearer, name string, dest []byte) (uint32, syscall.Errno) {
	wait, stop := patient(ctx)
	defer stop()
	var value string
	var err error
	if strings.HasPrefix(name, xattrPrefix) {
		value, err = f.virtual(wait, n, name)
	} else if errno := f.keeps(name); errno != 0 {
		return 0, errno
	} else {
		value, err = f.keptXattr(wait, n, name)
	}
	if err != nil {
		return 0, f.answer("getxattr", f.path(n), err)
	}
	return xattrValue(value, dest)
}

// keptXattr returns an attribute that somebody set.
func (f *FS) keptXattr(ctx context.Context, n bearer, name string) (string, error) {
	all, err := n.xattrs(ctx)
	value, ok := all[name]
	if err == nil && !ok {
		err = errNoXattr
	}
	return string(value), err
}

// errNoXattr says that a node has no such attribute.
var errNoXattr = &fault{errnoNoXattr, "there is no such attribute"}

// listxattr answers listxattr(2): names of what is kept, each with a zero byte.
func (f *FS) listxattr(ctx context.Context, n bearer, dest []byte) (uint32, syscall.Errno) {
	if f.o.NoXattrs {
		return 0, 0
	}
	wait, stop := patient(ctx)
	defer stop()
	all, err := n.xattrs(wait)
	if err != nil {
		return 0, f.answer("listxattr", f.path(n), err)
	}
	var names strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if f.keeps(name) == 0 && !strings.HasPrefix(name, xattrPrefix) {
			names.WriteString(name + "\x00")
		}
	}
	return xattrValue(names.String(), dest)
}

// setxattr answers setxattr(2).
func (f *FS) setxattr(ctx context.Context, n bearer, name string, value []byte, flags uint32) syscall.Errno {
	return f.changeXattr(ctx, "setxattr", n, name, func(all map[string][]byte) error {
		_, there := all[name]
		switch {
		case !utf8.ValidString(name): // JSON would store another name
			return &fault{syscall.EINVAL, "the name is not UTF-8"}
		case there && flags&unix.XATTR_CREATE != 0:
			return &fault{syscall.EEXIST, name + " exists"}
		case !there && flags&unix.XATTR_REPLACE != 0:
			return &fault{errnoNoXattr, name + " does not exist"}
		}
		all[name] = bytes.Clone(value)
		return nil
	})
}

// removexattr answers removexattr(2).
func (f *FS) removexattr(ctx context.Context, n bearer, name string) syscall.Errno {
	return f.changeXattr(ctx, "removexattr", n, name, func(all map[string][]byte) error {
		if _, there := all[name]; !there {
			return &fault{errnoNoXattr, name + " does not exist"}
		}
		delete(all, name)
		return nil
	})
}

func (f *FS) changeXattr(ctx context.Context, op string, n bearer, name string, change func(map[string][]byte) error) syscall.Errno {
	if strings.HasPrefix(name, xattrPrefix) {
		return f.answer(op, f.path(n), &fault{syscall.EPERM, "names that begin with " + xattrPrefix + " are read-only"})
	}
	if errno := f.keeps(name); errno != 0 {
		return errno
	}
	wait, stop := patient(ctx)
	defer stop()
	err := f.writable()
	if err == nil {
		err = n.changeXattrs(wait, change)
	}
	return f.answer(op, f.path(n), err)
}

// keeps answers for names that are not kept. A store for system.posix_acl_*
// would make `cp -a` lose modes and be content.
func (f *FS) keeps(name string) syscall.Errno {
	if f.o.NoXattrs || !strings.HasPrefix(name, userPrefix) {
		return syscall.ENOTSUP
	}
	return 0
}

// xattrValue answers as getxattr(2) does: the size, and the value if it fits.
func xattrValue(v string, dest []byte) (uint32, syscall.Errno) {
	if len(dest) < len(v) {
		return uint32(len(v)), syscall.ERANGE
	}
	return uint32(copy(dest, v)), 0
}
