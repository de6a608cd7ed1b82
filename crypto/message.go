package crypto

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// maxHeader is the longest header that Reader accepts, in bytes: room for the
// 8 KiB of context that KMS takes and a hundred data keys.
const maxHeader = 64 << 10

// Reader yields the plaintext of a message that comes as a stream: any framed
// one of suite 0478, also of other writers, with a header of up to 64 KiB and
// frames of up to 64 MiB. It needs memory for one frame, and that only as its
// bytes arrive. One goroutine at a time may use it.
type Reader struct {
	src    *bufio.Reader
	open   func(*Header) (*Opener, error)
	opener *Opener // nil until the header is read

	next  uint32 // number of the next frame
	frame []byte // where frames are read and opened
	plain []byte // what of it is authenticated and not read yet
	err   error  // what Read returns after that
}

// NewReader returns a Reader of the message that is all of src. open is called
// once, with its header; Read returns its error.
func NewReader(src io.Reader, open func(*Header) (*Opener, error)) *Reader {
	return &Reader{src: bufio.NewReaderSize(src, maxHeader), open: open, next: 1}
}

// Read yields authenticated plaintext, in order. Only io.EOF says that this was
// the whole message: after another error what was read is genuine, but not all
// of it. The errors are ErrForeign, ErrTampered (also for a message that is cut
// off or goes on behind its end), and those of src and open.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.plain) == 0 && r.err == nil {
		if r.opener == nil {
			r.err = r.begin()
		} else {
			r.err = r.advance()
		}
	}
	if len(r.plain) == 0 {
		return 0, r.err
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

// begin reads the header. How long it is shows when it can be parsed.
func (r *Reader) begin() error {
	for n := HeaderSize; ; n *= 2 {
		b, end := r.src.Peek(n)
		if end != nil && end != io.EOF {
			return fmt.Errorf("read the header: %w", end)
		}
		h, err := parseHeader(b)
		switch {
		case err == nil:
			_, _ = r.src.Discard(h.Size()) // of what was peeked at
			r.opener, err = r.open(h)
			return err
		case err != errShort || end != nil:
			return err
		case n == maxHeader:
			return foreign("its header is longer than %d bytes", maxHeader)
		}
	}
}

// advance reads the next frame and opens it. It returns io.EOF if that was the
// final one and nothing follows.
func (r *Reader) advance() error {
	b, err := r.src.Peek(finalHead) // no frame is shorter
	if err != nil {
		return r.cut(err)
	}
	head, content := regularHead, uint32(r.opener.header.FrameLen)
	final := binary.BigEndian.Uint32(b) == finalMark
	if final {
		head, content = finalHead, min(content, binary.BigEndian.Uint32(b[finalHead-4:]))
	}
	if r.frame, err = readInto(r.frame[:0], r.src, head+int(content)+tagSize); err != nil {
		return r.cut(err)
	}
	if r.plain, err = r.opener.Open(r.frame[head:head], r.frame, r.next, final); err != nil {
		return err
	}
	r.next++
	if !final {
		return nil
	}
	if _, err := r.src.Peek(1); err != nil {
		return err
	}
	return fmt.Errorf("behind the final frame: %w", ErrTampered)
}

// cut says that src ended, or failed, before the final frame did.
func (r *Reader) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the message is cut off: %w", ErrTampered)
	}
	return fmt.Errorf("frame %d: %w", r.next, err)
}

// readInto appends n bytes of src to b, which grows with what arrives: it never
// doubles more than once on the word of n.
func readInto(b []byte, src io.Reader, n int) ([]byte, error) {
	for n > 0 {
		have := len(b)
		b = slices.Grow(b, min(n, max(have, maxHeader)))
		b = b[:min(have+n, cap(b))]
		if _, err := io.ReadFull(src, b[have:]); err != nil {
			return b, err
		}
		n -= len(b) - have
	}
	return b, nil
}
