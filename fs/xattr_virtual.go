package fs

import (
	"cmp"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/kmsfs/kmsfs/s3io"
)

// Read-only extended attributes that show what the mount knows. They are not
// listed, lest tools try to copy them. Symbolic links and special files have
// none: the kernel knows user.* on files and directories alone.
// https://man7.org/linux/man-pages/man7/xattr.7.html
const (
	xattrPrefix    = "user.kmsfs."
	xattrLastError = xattrPrefix + "last_error" // on the root

	// On files, and on directories that have a marker. What S3 does not tell is absent.
	xattrSSE       = xattrPrefix + "sse"                // aws:kms, ...
	xattrKMSKey    = xattrPrefix + "kms_key_id"         // ARN as S3 says it; where it names none, those of the envelope
	xattrBucketKey = xattrPrefix + "bucket_key"         // true or false
	xattrContext   = xattrPrefix + "encryption_context" // of an envelope object, as JSON: S3 never discloses its own
	xattrEnvelope  = xattrPrefix + "envelope_key_ids"   // ARNs of the keys that open an envelope object, by spaces
	xattrFormat    = xattrPrefix + "format"             // plain, envelope or foreign
	xattrETag      = xattrPrefix + "etag"               // with its quotes
	xattrVersion   = xattrPrefix + "version_id"         // "null" where versioning is suspended
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

// Getxattr shows what is kept, how the directory's marker is encrypted, and on
// the root the last error.
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
	return n.f.getxattr(ctx, n, name, dest)
}

// stored returns the file's object as far as it is known.
func (n *file) stored() s3io.Object {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.obj
}

// stored returns the directory's marker as far as it is known.
func (d *dir) stored() s3io.Object {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.marker
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

// virtual returns a read-only attribute of n, which may take a HEAD.
func (f *FS) virtual(ctx context.Context, n bearer, name string) (string, error) {
	o := n.stored()
	if o.ETag == "" {
		return "", errNoXattr
	}
	if !o.Head || o.Encryption.Algorithm == "" {
		var err error
		if o, err = f.b.Head(ctx, o.Key); err != nil {
			return "", err
		}
	}
	value, err := disclose(o, name)
	if err == nil && value == "" {
		err = errNoXattr
	}
	return value, err
}

// disclose returns the value of a read-only attribute of o, "" where there is none.
func disclose(o s3io.Object, name string) (string, error) {
	var keys []string
	if o.Header != nil {
		for _, e := range o.Header.EDKs {
			keys = append(keys, e.Info)
		}
	}
	envelope := strings.Join(keys, " ")
	switch name {
	case xattrSSE:
		return o.Encryption.Algorithm, nil
	case xattrKMSKey:
		return cmp.Or(o.Encryption.KeyID, envelope), nil
	case xattrBucketKey:
		return strconv.FormatBool(o.Encryption.BucketKey), nil
	case xattrEnvelope:
		return envelope, nil
	case xattrFormat:
		return formats[o.Form], nil
	case xattrETag:
		return o.ETag, nil
	case xattrVersion:
		return o.VersionID, nil
	case xattrContext:
		if o.Header == nil {
			return "", nil
		}
		text, err := json.Marshal(o.Header.Context())
		return string(text), err
	}
	return "", nil
}

// formats are the words for forms.
var formats = [...]string{s3io.Plain: "plain", s3io.Sealed: "envelope", s3io.Foreign: "foreign"}
