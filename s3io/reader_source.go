package s3io

import (
	"context"
	"errors"
	"io"
)

// source is a range of an object that is read from start to end and survives
// what cuts its connections: it goes on from the byte where it stopped.
type source struct {
	reader     *Reader
	start, pos int64
	end        int64
	body       io.ReadCloser // nil while there is no connection
	failures   int           // in a row
}

func (r *Reader) source(off, end int64) *source {
	return &source{reader: r, start: off, pos: off, end: end}
}

// read returns at least one byte, or why there will be none. ctx carries the
// deadline that every new byte puts off. Asking for the body is not retried
// here: that was done below, for as long as it makes sense.
func (s *source) read(ctx context.Context, p []byte) (int, error) {
	for {
		if s.body == nil {
			body, err := s.reader.message.get(ctx, s.pos, s.end-s.pos)
			if err != nil {
				return 0, s.reader.gone(err)
			}
			s.body = body
		}
		n, err := s.body.Read(p)
		if err != nil && s.pos+int64(n) == s.end && ctx.Err() == nil {
			return 0, s.reader.fault(Integrity, err) // every byte came, and yet they are refused
		}
		if err != nil && lasting(err) {
			return 0, s.reader.gone(err)
		}
		s.pos += int64(n)
		if err != nil {
			s.close()
			deadlineOf(ctx).failed(err)
		}
		if n > 0 {
			s.failures = 0
			deadlineOf(ctx).sent(s.pos - s.start)
			return n, nil
		}
		if err != nil {
			if err := pause(ctx, s.failures); err != nil {
				return 0, classify(ctx, "read", s.reader.object.Key, err)
			}
			s.failures++
		}
	}
}

func (s *source) close() {
	if s.body != nil {
		_ = s.body.Close() // all that was wanted of it has been read
		s.body = nil
	}
}

// gone turns "no such key" into "changed by somebody else": this version was
// there when the Reader was made.
func (r *Reader) gone(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Kind == NotExist {
		return r.fault(Stale, err)
	}
	return err
}
