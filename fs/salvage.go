package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kmsfs/kmsfs/s3io"
)

// Unsaved is a file whose content could not be committed, for Options.Keep.
type Unsaved struct {
	Path   string      // below the mount point
	Key    string      // where it belongs, relative to the mount's prefix; "" if it has no place any more
	Base   s3io.Object // as last committed; ETag is "" if it never was
	Reason error

	f *FS
	w *s3io.Writer // nil: the file is empty
}

// InBase returns how many bytes of the file are as they were last committed.
func (u Unsaved) InBase() int64 {
	if u.w == nil {
		return 0
	}
	return u.w.InBase()
}

// Content writes the content to dst; without base it leaves out what is as it was
// last committed. ErrBase of s3io says that this could not be read.
func (u Unsaved) Content(ctx context.Context, dst io.Writer, base bool) (s3io.Remains, error) {
	switch {
	case u.w == nil:
		return s3io.Remains{}, nil
	case !base:
		return u.w.Salvage(ctx, dst, nil)
	}
	var t tap
	defer t.close()
	return u.w.Salvage(ctx, dst, func(o s3io.Object, p []byte, off int64) error {
		return readFull(t.readAt(ctx, u.f.b, o, p, off))
	})
}

// keepLimit bounds how long one file may take to be kept.
const keepLimit = 10 * time.Minute

// errNoTime is why a file was not saved that was ready to be.
var errNoTime = errors.New("there was no time left to save it")

// salvage hands what was written and could not be saved to Options.Keep, once. It
// returns why, unless all of it is kept then. The gate is locked.
func (n *file) salvage(why error) error {
	n.mu.Lock()
	w, base := n.w, n.obj
	none, kept := !n.unsaved || n.orphan != nil, n.kept
	n.mu.Unlock()
	switch {
	case kept:
		return nil
	case none || n.f.o.Keep == nil:
		return why
	}
	if n.f.b.GivenUp() {
		why = fmt.Errorf("%w: %w", errNoTime, why)
	}
	key, err := n.key()
	if err != nil {
		key = ""
	}
	ctx, cancel := context.WithTimeout(n.f.ctx, keepLimit)
	defer cancel()
	path := n.f.path(n)
	where, err := n.f.o.Keep(ctx, Unsaved{Path: path, Key: key, Base: base, Reason: why, f: n.f, w: w})
	n.f.salvaged(path, why, where, err)
	if err != nil {
		return fmt.Errorf("%w; %w", why, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kept = true
	return nil
}

// salvaged notes where what could not be saved under path is instead, or what of it; err
// is why not all of it is there.
func (f *FS) salvaged(path string, why error, where string, err error) {
	line := fmt.Sprintf("%s: %v", path, why)
	switch {
	case err == nil:
		line += "; its bytes are in " + where
	case where != "":
		line += fmt.Sprintf("; %v; what is left of it is in %s", err, where)
	default:
		line += fmt.Sprintf("; its bytes could not be kept either: %v", err)
	}
	f.log.Error("not saved", "what", line)
	f.mu.Lock()
	defer f.mu.Unlock()
	if where == "" {
		if x, ok := f.failures[path]; ok {
			f.failures[path] = failure{errors.New(line), x.told}
		}
		return
	}
	if err == nil {
		delete(f.failures, path)
	}
	if len(f.elsewhere) < maxFailures {
		f.elsewhere = append(f.elsewhere, line)
	}
}

// Kept says how many files could not be saved and are kept elsewhere, in all or in
// part.
func (f *FS) Kept() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.elsewhere)
}

// saveOrKeep is save for a tree that is about to end. A file that nobody can save
// any more is kept.
func (n *file) saveOrKeep(ctx context.Context) error {
	err := n.save(ctx)
	if err == nil {
		return nil
	}
	if n.begin(ctx) != nil {
		return err
	}
	defer n.end()
	return n.salvage(err)
}
