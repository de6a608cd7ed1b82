package s3io

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/kmsfs/kmsfs/crypto"
)

// A body reads pages one after the other, as often as the SDK likes: to hash
// them, to send them, to send them again. Each but the last is full.
type body struct {
	of         []*pages
	unit       int64  // bytes that each page but the last has in the body
	lead, tail []byte // before and behind the pages
	size       int64  // bytes in all
	off        int64
	frame      []byte // of the spool
	from       slot   // that frame was read from
}

// newBody returns a body over what of hold, and its size.
func newBody(of ...*pages) (*body, int64) {
	b := &body{of: of, unit: frameSize}
	b.measure()
	return b, b.size
}

// A sealedBody has nothing but what sealBody sealed.
type sealedBody struct {
	*body
	crc string // of all of it
}

// ciphertext marks what the guard lets pass.
func (sealedBody) ciphertext() {}

// checksum is what sum returns of all of the body.
func (b sealedBody) checksum() string { return b.crc }

// sealBody seals what of hold, the file's bytes from from on without a gap, and
// returns a body over the header, where the object begins, and the frames. end
// says that the object ends with them: its final frame is the last page, or an
// empty one where that is full.
func sealBody(s *crypto.Sealer, from int64, end bool, of ...*pages) (sealedBody, int64, error) {
	b := &body{of: of, unit: crypto.Stride}
	crc := newSum()
	if from == 0 {
		b.lead = s.Header().Bytes()
		crc.Write(b.lead)
	}
	for _, p := range of {
		n := p.have.prefix()
		if n > 0 && p.from != from {
			return sealedBody{}, 0, fmt.Errorf("bytes at %d are held where those at %d are to be sealed", p.from, from)
		}
		if err := p.seal(s, crc); err != nil {
			return sealedBody{}, 0, fmt.Errorf("seal at %d: %w", p.from, err)
		}
		from += n
	}
	if end && from%frameSize == 0 {
		b.tail = s.Run(crypto.FrameAt(from), 1).SealFinal(nil, nil)
		crc.Write(b.tail)
	}
	b.measure()
	return sealedBody{b, encodeSum(crc)}, b.size, nil
}

func (b *body) measure() {
	b.size = int64(len(b.lead) + len(b.tail))
	for _, p := range b.of {
		b.size += b.length(p)
	}
}

// length returns the bytes that p has in the body.
func (b *body) length(p *pages) int64 {
	n := p.have.prefix()
	full, rest := n/frameSize*b.unit, n%frameSize
	if rest > 0 && b.unit != frameSize {
		rest += crypto.FinalOverhead
	}
	return full + rest
}

// Read implements io.Reader.
func (b *body) Read(dst []byte) (int, error) {
	if b.off >= b.size {
		return 0, io.EOF
	}
	if len(dst) == 0 {
		return 0, nil
	}
	next, err := b.next()
	n := copy(dst, next)
	b.off += int64(n)
	return n, err
}

// WriteTo implements io.WriterTo, so that summing up copies nothing.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	var done int64
	for b.off < b.size {
		next, err := b.next()
		if err == nil {
			_, err = w.Write(next)
		}
		if err != nil {
			return done, err
		}
		b.off += int64(len(next))
		done += int64(len(next))
	}
	return done, nil
}

// next returns some of the bytes that are to be read.
func (b *body) next() ([]byte, error) {
	off := b.off
	if off < int64(len(b.lead)) {
		return b.lead[off:], nil
	}
	off -= int64(len(b.lead))
	for _, p := range b.of {
		n := b.length(p)
		if off >= n {
			off -= n
			continue
		}
		i := min(off/b.unit, (p.have.prefix()-1)/frameSize)
		page, err := b.page(p, int(i))
		if err != nil {
			return nil, err
		}
		return page[off-i*b.unit : min(int64(len(page)), n-i*b.unit)], nil
	}
	if off < int64(len(b.tail)) {
		return b.tail[off:], nil
	}
	return nil, io.ErrUnexpectedEOF
}

func (b *body) page(p *pages, i int) ([]byte, error) {
	at := p.table[i]
	switch {
	case at.sealed == 0 != (b.unit == frameSize):
		return nil, errors.New("a page to be sent is sealed otherwise than the others")
	case at.mem != nil:
		return p.held(at), nil
	case at.slot == b.from:
		return b.frame, nil
	}
	var err error
	if b.frame, err = p.stored(i, slices.Grow(b.frame[:0], int(p.spool.frame))); err != nil {
		b.from = 0
		return nil, err
	}
	b.from = at.slot
	return b.frame, nil
}

// Seek implements io.Seeker.
func (b *body) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += b.off
	case io.SeekEnd:
		off += b.size
	}
	if off < 0 {
		return 0, errors.New("seek before the begin of the body")
	}
	b.off = off
	return off, nil
}
