package fs

import (
	"context"
	"strconv"
	"strings"
	"syscall"
)

// Read-only extended attributes that show what the mount knows. They are not
// listed, lest tools try to copy them.
const (
	xattrPrefix    = "user.kmsfs."
	xattrLastError = xattrPrefix + "last_error" // on the root
	xattrMode      = xattrPrefix + "mode"       // on files: aws:kms, ...
	xattrKey       = xattrPrefix + "key"
	xattrBucketKey = xattrPrefix + "bucket-key" // true or false
)

// Getxattr shows the last error on the root.
func (d *dir) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	if errno := refusedXattr(name); errno != 0 {
		return 0, errno
	}
	if name == xattrLastError && d == d.f.root {
		return xattrValue(d.f.LastError(), dest)
	}
	return 0, errnoNoXattr
}

// Setxattr is refused: nothing keeps extended attributes yet.
func (d *dir) Setxattr(context.Context, string, []byte, uint32) syscall.Errno { return syscall.ENOTSUP }

// Removexattr is refused like Setxattr.
func (d *dir) Removexattr(context.Context, string) syscall.Errno { return syscall.ENOTSUP }

// Getxattr shows how S3 says that the file's object is encrypted.
func (n *file) Getxattr(ctx context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	if errno := refusedXattr(name); errno != 0 {
		return 0, errno
	}
	if !strings.HasPrefix(name, xattrPrefix) {
		return 0, errnoNoXattr
	}
	wait, stop := patient(ctx)
	defer stop()
	n.mu.Lock()
	o := n.obj
	n.mu.Unlock()
	if o.ETag != "" && (!o.Head || o.Encryption.Algorithm == "") {
		var err error
		if o, err = n.f.b.Head(wait, o.Key); err != nil {
			return 0, n.f.answer("getxattr", n.f.path(n), err)
		}
	}
	switch {
	case o.ETag == "":
	case name == xattrMode:
		return xattrValue(o.Encryption.Algorithm, dest)
	case name == xattrKey:
		return xattrValue(o.Encryption.KeyID, dest)
	case name == xattrBucketKey:
		return xattrValue(strconv.FormatBool(o.Encryption.BucketKey), dest)
	}
	return 0, errnoNoXattr
}

// Setxattr is refused: nothing keeps extended attributes yet.
func (n *file) Setxattr(context.Context, string, []byte, uint32) syscall.Errno {
	return syscall.ENOTSUP
}

// Removexattr is refused like Setxattr.
func (n *file) Removexattr(context.Context, string) syscall.Errno { return syscall.ENOTSUP }

// refusedXattr answers for names that the kernel then stops asking for, or
// that mean rights which this filesystem does not have. A store for
// system.posix_acl_* would make `cp -a` lose modes and be content.
func refusedXattr(name string) syscall.Errno {
	if strings.HasPrefix(name, "system.posix_acl_") || strings.HasPrefix(name, "security.") {
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
