package s3

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
)

// Data at rest is a sequence of frames: each holds up to frameSize bytes of content, sealed with AES-256-GCM under a
// key of the blob's own. The nonce is the frame's index and whether it is the last, so that frames can neither be
// moved nor cut off, and any range can be opened without what is before it.
const (
	frameSize = 64 << 10
	tagSize   = 16
	sealed    = frameSize + tagSize
)

// newAEAD derives the key of one blob from the data key of its object.
func newAEAD(dataKey []byte, blob string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, dataKey, nil, "kmsfs sandbox blob "+blob, 32)
	if err != nil {
		return nil, fmt.Errorf("derive the key of blob %s: %w", blob, err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("derive the key of blob %s: %w", blob, err)
	}
	return cipher.NewGCM(block)
}

func nonce(frame int64, last bool) []byte {
	n := make([]byte, 12)
	binary.BigEndian.PutUint64(n, uint64(frame))
	if last {
		n[11] = 1
	}
	return n
}

// A sealer writes content as frames. Only Close seals the last one.
type sealer struct {
	w     io.Writer
	aead  cipher.AEAD
	buf   []byte // content of the frame that is being filled, with room for its tag
	frame int64
	size  int64
}

func newSealer(w io.Writer, aead cipher.AEAD) *sealer {
	return &sealer{w: w, aead: aead, buf: make([]byte, 0, sealed)}
}

// Write takes content. A full frame is only written when more follows: it might be the last.
func (s *sealer) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if len(s.buf) == frameSize {
			if err := s.flush(false); err != nil {
				return total - len(p), err
			}
		}
		n := copy(s.buf[len(s.buf):frameSize], p)
		s.buf, p = s.buf[:len(s.buf)+n], p[n:]
	}
	s.size += int64(total)
	return total, nil
}

// Close seals the last frame, which is empty only in an empty blob.
func (s *sealer) Close() error { return s.flush(true) }

func (s *sealer) flush(last bool) error {
	frame := s.aead.Seal(s.buf[:0], nonce(s.frame, last), s.buf, nil)
	s.frame++
	s.buf = s.buf[:0]
	_, err := s.w.Write(frame)
	return err
}

// An opener reads a range of a blob's content.
type opener struct {
	r     io.ReaderAt
	aead  cipher.AEAD
	size  int64 // of the whole content
	frame int64 // next one to open
	skip  int   // bytes of that frame that come before the range
	left  int64 // bytes of the range that are still to come
	buf   []byte
	ready []byte // opened and not yet read
}

// newOpener reads n bytes at offset off of content that is size bytes long; the range must lie within it.
func newOpener(r io.ReaderAt, aead cipher.AEAD, size, off, n int64) *opener {
	return &opener{r: r, aead: aead, size: size, frame: off / frameSize, skip: int(off % frameSize), left: n}
}

func (o *opener) Read(p []byte) (int, error) {
	for len(o.ready) == 0 {
		if o.left == 0 {
			return 0, io.EOF
		}
		if err := o.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, o.ready)
	o.ready = o.ready[n:]
	return n, nil
}

// next opens one frame and keeps what belongs to the range.
func (o *opener) next() error {
	if o.buf == nil {
		o.buf = make([]byte, sealed)
	}
	start := o.frame * frameSize
	length := min(frameSize, o.size-start)
	raw := o.buf[:length+tagSize]
	if _, err := o.r.ReadAt(raw, o.frame*sealed); err != nil {
		return fmt.Errorf("read frame %d: %w", o.frame, err)
	}
	content, err := o.aead.Open(raw[:0], nonce(o.frame, start+length == o.size), raw, nil)
	if err != nil {
		return fmt.Errorf("open frame %d: %w", o.frame, err)
	}
	content = content[o.skip:]
	content = content[:min(int64(len(content)), o.left)]
	o.frame, o.skip, o.ready = o.frame+1, 0, content
	o.left -= int64(len(content))
	return nil
}
