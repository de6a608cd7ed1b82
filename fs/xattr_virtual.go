package fs

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/kmsfs/kmsfs/s3io"
)

// Read-only extended attributes that show what the mount knows. They are not
// listed, lest tools try to copy them.
const (
	xattrPrefix      = "user.kmsfs."
	xattrLastError   = xattrPrefix + "last_error"         // on the root
	xattrMode        = xattrPrefix + "mode"               // on files: aws:kms, ...
	xattrKey         = xattrPrefix + "key"                // ARN as S3 says it; where it names none, that of the envelope
	xattrBucketKey   = xattrPrefix + "bucket-key"         // true or false
	xattrFormat      = xattrPrefix + "format"             // plain, envelope or foreign
	xattrEnvelopeKey = xattrPrefix + "envelope-key"       // ARNs of the keys that open an envelope object, by spaces
	xattrContext     = xattrPrefix + "encryption-context" // of an envelope object, as JSON
)

var (
	_ fusefs.NodeGetxattrer    = (*file)(nil)
	_ fusefs.NodeSetxattrer    = (*file)(nil)
	_ fusefs.NodeListxattrer   = (*file)(nil)
	_ fusefs.NodeRemovexattrer = (*file)(nil)
	_ fusefs.NodeGetxattrer    = (*dir)(nil)
	_ fusefs.NodeSetxattrer    = (*dir)(nil)
	_ fusefs.NodeListxattrer   = (*dir)(nil)
	_ fusefs.NodeRemovexattrer = (*dir)(nil)
)

// Getxattr shows what is kept, and on the root the last error.
func (d *dir) Getxattr(ctx context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	if name == xattrLastError && d == d.f.root {
		return xattrValue(d.f.LastError(), dest)
	}
	return d.f.getxattr(ctx, d, name, dest)
}

// Setxattr keeps an attribute with the directory's marker.
func (d *dir) Setxattr(ctx context.Context, name string, value []byte, flags uint32) syscall.Errno {
	return d.f.setxattr(ctx, d, name, value, flags)
}

// Listxattr names what is kept.
func (d *dir) Listxattr(ctx context.Context, dest []byte) (uint32, syscall.Errno) {
	return d.f.listxattr(ctx, d, dest)
}

// Removexattr removes an attribute.
func (d *dir) Removexattr(ctx context.Context, name string) syscall.Errno {
	return d.f.removexattr(ctx, d, name)
}

// Getxattr shows what is kept, and how the file's object is encrypted.
func (n *file) Getxattr(ctx context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	if !strings.HasPrefix(name, xattrPrefix) {
		return n.f.getxattr(ctx, n, name, dest)
	}
	wait, stop := patient(ctx)
	defer stop()
	n.mu.Lock()
	o := n.obj
	n.mu.Unlock()
	if o.ETag == "" {
		return 0, errnoNoXattr
	}
	if !o.Head || o.Encryption.Algorithm == "" {
		var err error
		if o, err = n.f.b.Head(wait, o.Key); err != nil {
			return 0, n.f.answer("getxattr", n.f.path(n), err)
		}
	}
	value, ok := virtual(o, name)
	if !ok {
		return 0, errnoNoXattr
	}
	return xattrValue(value, dest)
}

// Setxattr keeps an attribute with the object.
func (n *file) Setxattr(ctx context.Context, name string, value []byte, flags uint32) syscall.Errno {
	return n.f.setxattr(ctx, n, name, value, flags)
}

// Listxattr names what is kept.
func (n *file) Listxattr(ctx context.Context, dest []byte) (uint32, syscall.Errno) {
	return n.f.listxattr(ctx, n, dest)
}

// Removexattr removes an attribute.
func (n *file) Removexattr(ctx context.Context, name string) syscall.Errno {
	return n.f.removexattr(ctx, n, name)
}

// virtual returns the value of a read-only attribute of o. What the object's
// metadata does not tell is absent.
func virtual(o s3io.Object, name string) (value string, ok bool) {
	var keys []string
	if o.Header != nil {
		for _, e := range o.Header.EDKs {
			keys = append(keys, e.Info)
		}
	}
	envelope := strings.Join(keys, " ")
	switch name {
	case xattrMode:
		return o.Encryption.Algorithm, true
	case xattrBucketKey:
		return strconv.FormatBool(o.Encryption.BucketKey), true
	case xattrFormat:
		return formats[o.Form], true
	case xattrKey:
		if o.Encryption.KeyID == "" {
			return envelope, true
		}
		return o.Encryption.KeyID, true
	case xattrEnvelopeKey:
		return envelope, o.Header != nil
	case xattrContext:
		if o.Header == nil {
			return "", false
		}
		text, err := json.Marshal(o.Header.Context())
		return string(text), err == nil
	}
	return "", false
}

// formats are the words for forms.
var formats = [...]string{s3io.Plain: "plain", s3io.Sealed: "envelope", s3io.Foreign: "foreign"}
