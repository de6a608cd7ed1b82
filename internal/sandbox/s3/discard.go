package s3

import (
	"encoding/hex"
	"hash"
	"io"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// mostKept is the largest body whose content a server with Options.Discard keeps: markers, small files and headers.
const mostKept = 1 << 20

// discard takes a body as write does, but keeps what is computed of it alone: a file of 100 GiB then needs neither
// memory nor disk, nor the time to seal it. Nothing that is made up is ever answered: who reads it is refused.
func (s *Server) discard(body io.Reader, sealed seal, algorithm string, digest hash.Hash) (part, error) {
	p, sum := part{ETag: newID(), Modified: s.opts.Now()}, newHash(algorithm)
	n, err := io.CopyBuffer(io.MultiWriter(hashes(sum, digest)), body, make([]byte, 1<<20))
	if err != nil {
		return part{}, err
	}
	p.Size, p.Checksum = n, sum.Sum(nil)
	if digest != nil && sealed.Algorithm == sseS3 {
		p.ETag = hex.EncodeToString(digest.Sum(nil))
	}
	return p, nil
}

// kept refuses a range of which something was discarded.
func (c *content) kept(off, n int64) error {
	for _, p := range c.Parts {
		if p.Blob == "" && off < p.Size && off+n > 0 {
			return wire.Errorf(403, "InvalidObjectState", "The content was discarded: the sandbox was started with Discard")
		}
		off -= p.Size
	}
	return nil
}
