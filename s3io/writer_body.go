package s3io

import (
	"errors"
	"io"
	"slices"
)

// A body reads pages one after the other, as often as the SDK likes: to hash
// them, to send them, to send them again. Each but the last is full.
type body struct {
	of    []*pages
	size  int64 // bytes in all
	off   int64
	frame []byte // of the spool, plain
	from  slot   // that frame was read from
}

// newBody returns a body over what of hold, and its size.
func newBody(of ...*pages) (*body, int64) {
	b := &body{of: of}
	for _, p := range of {
		b.size += p.have.prefix()
	}
	return b, b.size
}

// Read implements io.Reader.
func (b *body) Read(dst []byte) (int, error) {
	if b.off >= b.size {
		return 0, io.EOF
	}
	if len(dst) == 0 {
		return 0, nil
	}
	off := b.off
	for _, p := range b.of {
		n := p.have.prefix()
		if off >= n {
			off -= n
			continue
		}
		frame, err := b.page(p, int(off/frameSize))
		if err != nil {
			return 0, err
		}
		in := off % frameSize
		k := copy(dst, frame[in:min(frameSize, in+n-off)])
		b.off += int64(k)
		return k, nil
	}
	return 0, io.ErrUnexpectedEOF
}

func (b *body) page(p *pages, i int) ([]byte, error) {
	at := p.table[i]
	if at.mem != nil || at.slot == b.from {
		if at.mem != nil {
			return at.mem, nil
		}
		return b.frame, nil
	}
	var err error
	if b.frame, err = p.spool.read(slices.Grow(b.frame[:0], frameSize), at.slot); err != nil {
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
