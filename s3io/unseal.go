package s3io

import (
	"context"
	"io"
	"sync"

	"github.com/kmsfs/kmsfs/crypto"
)

// unsealed is a range of a message's plaintext, opened frame by frame as the
// frames arrive. A frame that does not open is asked for once more, and once
// more under the object's own header; only authentic bytes leave it.
//
// An empty final frame is opened together with the one before it: whoever
// gets the last byte of a file knows that it is the last.
type unsealed struct {
	m   *message
	ctx context.Context

	body *answer // from frame next on, or from the header that is before it
	open *opened // nil until the first frame
	head bool    // body begins with the header

	next, last, final uint32 // frames: to come, of the range, of the message
	pos, end          int64  // of the plaintext: what is handed out next, and where that ends
	again             uint32 // frame that was asked for twice

	buf  *frames // what came of the next frame, or the plaintext of the latest
	got  int     // bytes that came
	rest []byte  // plaintext in buf that is not handed out yet
}

// frames has room for a regular frame and an empty final one.
type frames [crypto.Stride + crypto.FinalOverhead]byte

var framePool = sync.Pool{New: func() any { return new(frames) }}

// unseal begins to read n bytes of plaintext at off; none only of an empty
// file. Where the header is known the keys are asked for before the content.
func (m *message) unseal(ctx context.Context, off, n int64) (*unsealed, error) {
	u := &unsealed{m: m, ctx: ctx, pos: off, end: off + n,
		next: crypto.FrameAt(off), final: crypto.FinalFrame(m.object.Stored)}
	u.last = u.final
	if u.end < m.object.Size {
		u.last = crypto.FrameAt(u.end - 1)
	}
	if h := m.object.Header; h != nil {
		if _, err := m.unlock(ctx, h); err != nil {
			return nil, err
		}
	}
	u.buf = framePool.Get().(*frames)
	if err := u.connect(); err != nil {
		framePool.Put(u.buf)
		return nil, err
	}
	return u, nil
}

// connect asks for the frames from next on. While nobody knows the header, a
// read of the first frame brings it along.
func (u *unsealed) connect() error {
	u.open, u.got = u.m.opened.Load(), 0
	start, stop := crypto.FrameOffset(u.next), u.m.object.Stored
	if u.last < u.final {
		stop = crypto.FrameOffset(u.last + 1)
	}
	if u.head = u.open == nil && u.next == 1; u.head {
		start = 0
	}
	body, err := u.m.b.content(u.ctx, u.m.object, start, stop-start)
	if err == nil {
		u.body = body
	}
	return err
}

// Read hands out plaintext of one frame.
func (u *unsealed) Read(p []byte) (int, error) {
	if len(u.rest) == 0 && len(p) > 0 {
		if u.next > u.last {
			return 0, io.EOF
		}
		if err := u.begin(); err != nil {
			return 0, err
		}
		n, err := u.frame(p)
		if n > 0 || err != nil {
			return n, err
		}
		if len(u.rest) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	u.pos += int64(n)
	return n, nil
}

// begin finds what opens the frames: by the header that came before them, the
// one in the answer's metadata, or the object's own.
func (u *unsealed) begin() (err error) {
	if u.open != nil {
		return nil
	}
	h := headerIn(u.body.meta)
	if u.head {
		if err := u.fill(crypto.HeaderSize); err != nil {
			return err
		}
		h, _ = crypto.ParseHeader(u.buf[:crypto.HeaderSize]) // else unlock says why not
		u.head, u.got = false, 0
	}
	u.open, err = u.m.unlock(u.ctx, h)
	return err
}

// fill reads until n bytes of buf came.
func (u *unsealed) fill(n int) error {
	for u.got < n {
		k, err := u.body.Read(u.buf[u.got:n])
		u.got += k
		if err == io.EOF && u.got < n {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && u.got < n {
			return classify(u.ctx, "get", u.m.object.Key, err)
		}
	}
	return nil
}

// frame opens the next frame: into p if all of it is wanted and p has room,
// and returns how much that is; else into rest.
func (u *unsealed) frame(p []byte) (int, error) {
	for {
		if err := u.fill(u.sealedSize()); err != nil {
			return 0, err
		}
		n, err := u.decrypt(p)
		if err == nil {
			u.got = 0
			return n, nil
		}
		if err := u.retry(err); err != nil {
			return 0, err
		}
	}
}

// sealedSize returns how many bytes the next frame has, and an empty final one
// behind it.
func (u *unsealed) sealedSize() int {
	rest := u.m.object.Stored - crypto.FrameOffset(u.next)
	if u.next == u.final || u.last == u.final && rest == crypto.Stride+crypto.FinalOverhead {
		return int(rest)
	}
	return crypto.Stride
}

// decrypt opens what fill brought.
func (u *unsealed) decrypt(p []byte) (int, error) {
	frame, head, after := u.buf[:u.got], crypto.FrameHead, u.next+1
	if u.next == u.final {
		head = crypto.Headroom
	} else if len(frame) > crypto.Stride {
		if _, err := u.open.Open(nil, frame[crypto.Stride:], u.final, true); err != nil {
			return 0, err
		}
		frame, after = frame[:crypto.Stride], u.final+1
	}
	size := len(frame) - head - crypto.Tailroom
	start := int64(u.next-1) * crypto.FrameSize
	lo, hi := max(u.pos-start, 0), min(u.end-start, int64(size))
	straight := lo == 0 && hi == int64(size) && len(p) >= size
	dst := frame[head:head]
	if straight {
		dst = p[:0:size]
	}
	plain, err := u.open.Open(dst, frame, u.next, u.next == u.final)
	if err != nil {
		return 0, err
	}
	u.next = after
	if straight {
		u.pos += int64(size)
		return size, nil
	}
	u.rest = plain[lo:hi]
	return 0, nil
}

// retry begins anew with the frame that did not open, or returns failure where
// that is of no use any more.
func (u *unsealed) retry(failure error) error {
	if u.again == u.next {
		better, err := u.m.instead(u.ctx, u.open)
		if err != nil {
			return err
		}
		if better == nil {
			return keyError(u.ctx, "get", u.m.object.Key, failure)
		}
	}
	u.again = u.next
	_ = u.body.Close() // its bytes are of no use
	return u.connect()
}

// Close ends the request.
func (u *unsealed) Close() error {
	if u.buf != nil {
		framePool.Put(u.buf)
		u.buf, u.rest = nil, nil
		u.next = u.last + 1
	}
	return u.body.Close()
}

// proveEmpty opens the final frame of an empty file.
func (m *message) proveEmpty(ctx context.Context) error {
	u, err := m.unseal(ctx, 0, 0)
	if err != nil {
		return err
	}
	defer u.Close()
	if _, err = u.Read(make([]byte, 1)); err == io.EOF {
		return nil
	}
	return err
}
