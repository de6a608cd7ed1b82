//go:build linux

package fs

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/s3io"
)

// A listing does not tell what others keep in an object's metadata. A large
// file's go with the request that begins its upload, long before the commit.
func TestALongAppendToAListedFileKeepsItsMetadata(t *testing.T) {
	w := newWorld(t)
	b := w.other()
	body := strings.Repeat("0123456789", 600_000)
	_, err := b.Put(context.Background(), "f", strings.NewReader(body), int64(len(body)), s3io.Attrs{Meta: map[string]string{"owner": "them"}}, s3io.Condition{})
	check(t, err)
	m := w.mount(func(s *served) { s.FS.PosixAttrs = false })
	_, err = os.ReadDir(m.dir)
	check(t, err)
	appendTo(t, m.path("f"), strings.Repeat("x", 9<<20))
	o := w.head(b, "f")
	if o.Size != int64(len(body)+9<<20) || o.Meta["owner"] != "them" {
		t.Errorf("%d bytes with metadata %v", o.Size, o.Meta)
	}
	if n := w.box.Log.Count("CopyObject"); n != 0 {
		t.Errorf("%d copies to mend the metadata", n)
	}
}
