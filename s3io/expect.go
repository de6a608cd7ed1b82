package s3io

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/kmsfs/kmsfs/crypto"
)

// RenameRewrites reports whether Copy to another key reads and seals the
// content anew, because that is bound to the key.
func (b *Bucket) RenameRewrites() bool {
	return b.sealing() && b.opts.Envelope.Scope == crypto.ScopeObject
}

// What sealed attributes take in metadata besides themselves, in bytes.
const (
	sealedMore   = 12 + 16 // nonce and tag
	markerHeader = 600     // about, of a marker, which has its header nowhere else
)

// Fits returns an error of Kind NoSpace if an object of that key cannot store
// what a says, as far as that can be told before it is sealed.
func (b *Bucket) Fits(key string, a Attrs) error {
	h := heritage{meta: a.Meta, op: "set attributes of", key: key, form: Plain}
	if !b.sealing() {
		h.meta = withPlainXattrs(h.meta, a.Xattrs)
		return h.fit()
	}
	if len(a.Xattrs) > 0 {
		text, err := json.Marshal(a.Xattrs)
		if err != nil {
			return err
		}
		n := base64.RawURLEncoding.EncodedLen(len(text) + sealedMore)
		if marker(key) {
			n += markerHeader
		} else {
			h.spliced = maxReplaced // changes of the content must find room for their count
		}
		h.xattrs = strings.Repeat("x", n)
	}
	return h.fit()
}
