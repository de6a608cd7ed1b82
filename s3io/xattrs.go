package s3io

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"

	"github.com/kmsfs/kmsfs/crypto"
)

// plainXattrs is the user metadata in which objects that are not sealed have
// their extended attributes, as s3fs stores them: URL-encoded JSON of names to
// base64.
const plainXattrs = "xattr"

// xattrLabel is what sealed attributes are bound to.
const xattrLabel = "xattr"

// Xattrs returns the extended attributes of o, which are the caller's to keep.
func (b *Bucket) Xattrs(ctx context.Context, o Object) (map[string][]byte, error) {
	o, err := b.known(ctx, o)
	if err != nil {
		return nil, err
	}
	if !b.sealing() || o.Form == Foreign && b.opts.Envelope.PassForeign {
		return parsePlainXattrs(o.Meta[plainXattrs]), nil
	}
	if o.Xattrs == "" || o.Form == Foreign {
		return map[string][]byte{}, nil
	}
	var xattrs map[string][]byte
	err = b.message(o).metadata(ctx, func(open *crypto.Opener) (err error) {
		xattrs, err = openXattrs(open, o.Xattrs)
		return err
	})
	return xattrs, keyError(ctx, "read xattrs of", o.Key, err)
}

// xattrsFor returns the attributes that an object made with a is to have. nil
// leaves what a.Meta says of them.
func (b *Bucket) xattrsFor(ctx context.Context, a Attrs) (map[string][]byte, error) {
	switch {
	case a.Xattrs != nil:
		return a.Xattrs, nil
	case a.Base == nil:
		return nil, nil
	case !b.sealing():
		return parsePlainXattrs(a.Base.Meta[plainXattrs]), nil // as far as it is known
	}
	return b.Xattrs(ctx, *a.Base)
}

func sealXattrs(open *crypto.Opener, xattrs map[string][]byte) (string, error) {
	if len(xattrs) == 0 {
		return "", nil
	}
	text, err := json.Marshal(xattrs)
	if err != nil {
		return "", fmt.Errorf("encode xattrs: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(open.SealMetadata(xattrLabel, text)), nil
}

// openXattrs is the inverse of sealXattrs. Its errors are crypto.ErrTampered.
func openXattrs(open *crypto.Opener, stored string) (map[string][]byte, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(stored)
	if err != nil {
		return nil, fmt.Errorf("%w: its attributes are no base64", crypto.ErrTampered)
	}
	text, err := open.OpenMetadata(xattrLabel, sealed)
	if err != nil {
		return nil, err
	}
	var xattrs map[string][]byte
	if json.Unmarshal(text, &xattrs) != nil {
		return nil, errors.New("the attributes are of an unknown form")
	}
	return xattrs, nil
}

// withPlainXattrs returns meta with the attributes in it.
func withPlainXattrs(meta map[string]string, xattrs map[string][]byte) map[string]string {
	if len(xattrs) == 0 && meta[plainXattrs] == "" {
		return meta
	}
	meta = maps.Clone(meta)
	if meta == nil {
		meta = map[string]string{}
	}
	delete(meta, plainXattrs)
	if len(xattrs) == 0 {
		return meta
	}
	text, err := json.Marshal(xattrs)
	if err == nil { // a map of bytes always encodes
		meta[plainXattrs] = url.QueryEscape(string(text))
	}
	return meta
}

// parsePlainXattrs is the inverse, as lenient as with all metadata of others:
// what cannot be read is not there.
func parsePlainXattrs(stored string) map[string][]byte {
	xattrs := map[string][]byte{}
	text, err := url.QueryUnescape(stored)
	if err != nil || json.Unmarshal([]byte(text), &xattrs) != nil || xattrs == nil {
		return map[string][]byte{}
	}
	return xattrs
}
