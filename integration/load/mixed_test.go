package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
)

const (
	writers = 64
	readers = 64
	names   = 4 // of each writer's kind of files
)

// pattern is what all content is cut from: where a piece begins tells it from others.
var pattern = sync.OnceValue(func() []byte { return harness.Random(1, 32<<20) })

// piece is a part of the pattern.
type piece struct{ off, n int }

// aPiece returns one of a size as files have it: most are small, some take an
// upload of parts.
func aPiece() piece {
	n := 1 + rand.IntN(64<<10)
	switch dice := rand.IntN(200); {
	case dice == 0:
		n = 8<<20 + rand.IntN(4<<20)
	case dice < 40:
		n = 1 + rand.IntN(1<<20)
	}
	return piece{rand.IntN(len(pattern()) - n), n}
}

// file is one name, and what its content must be. Files that are replaced are
// changed by rename and unlink alone: what was opened stays what it was. The
// others are written in place, while nobody reads.
type file struct {
	path     string
	replaced bool

	mu     sync.RWMutex
	exists bool
	pieces []piece
}

// want returns the content.
func (f *file) want() []byte {
	var b []byte
	for _, p := range f.pieces {
		b = append(b, pattern()[p.off:][:p.n]...)
	}
	return b
}

// load is one run.
type load struct {
	files []*file
	ops   [6]atomic.Int64
	bytes atomic.Int64 // read and compared
}

// TestWritersAndReaders has 64 of each work on one mount.
func TestWritersAndReaders(t *testing.T) {
	runs := duration(t, "KMSFS_TEST_LOAD_TIME", 5*time.Second)
	each(t, runs, func(t *testing.T, srv *harness.Server) {
		m := srv.Mount(t, memoryFlag)
		l := &load{}
		for w := range writers {
			dir := m.Path(fmt.Sprint("w", w))
			harness.Must(t, os.Mkdir(dir, 0o755))
			for i := range 2 * names {
				l.files = append(l.files, &file{path: filepath.Join(dir, fmt.Sprint("f", i)), replaced: i < names})
			}
		}
		before := look(t, m)
		samples := l.run(t, m, srv, runs)
		grown(t, samples)
		t.Logf("created, written over, appended, replaced, unlinked, read: %v; %d MiB compared", l.counts(), l.bytes.Load()>>20)
		l.clear(t)
		settled(t, m, before)
		bounded(t, m)
		m.Unmount()
		if left := srv.Keys(t); len(left) != writers {
			t.Errorf("%d objects, want those of %d directories: %q", len(left), writers, left[:min(len(left), 100)])
		}
	})
}

// run works for a time, and looks at the mount meanwhile.
func (l *load) run(t *testing.T, m *harness.Mount, srv *harness.Server, runs time.Duration) (samples []figures) {
	ctx, cancel := context.WithTimeout(t.Context(), runs)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	for w := range writers {
		own := l.files[w*2*names:][:2*names]
		g.Go(func() error {
			for ctx.Err() == nil {
				if err := l.change(own[rand.IntN(len(own))]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for range readers {
		g.Go(func() error {
			for ctx.Err() == nil {
				if err := l.read(l.files[rand.IntN(len(l.files))]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	tick := time.NewTicker(max(runs/40, 200*time.Millisecond))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			samples = append(samples, look(t, m))
			srv.Sandbox.Log.Reset() // it would grow by every request
		case <-ctx.Done():
		}
	}
	harness.Must(t, g.Wait())
	return samples
}

// change does one thing to a file.
func (l *load) change(f *file) (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, dice := aPiece(), rand.IntN(8)
	text := pattern()[p.off:][:p.n]
	switch {
	case f.exists && dice == 0:
		l.ops[4].Add(1)
		f.exists, err = false, os.Remove(f.path)
		return err
	case f.replaced:
		l.ops[3].Add(1)
		if err := os.WriteFile(f.path+".new", text, 0o644); err != nil {
			return err
		}
		err = os.Rename(f.path+".new", f.path)
		f.pieces = []piece{p}
	case f.exists && dice < 4 && len(f.pieces) < 4:
		l.ops[2].Add(1)
		var a *os.File
		if a, err = os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND, 0); err != nil {
			return err
		}
		_, err = a.Write(text)
		err = errors.Join(err, a.Close())
		f.pieces = append(f.pieces, p)
	default:
		l.ops[map[bool]int{false: 0, true: 1}[f.exists]].Add(1)
		err = os.WriteFile(f.path, text, 0o644)
		f.pieces = []piece{p}
	}
	f.exists = true
	return err
}

// read compares a file with what was committed.
func (l *load) read(f *file) error {
	f.mu.RLock()
	want, exists := f.want(), f.exists
	in, err := os.Open(f.path)
	if f.replaced { // it may be replaced and removed while it is read
		f.mu.RUnlock()
	} else {
		defer f.mu.RUnlock()
	}
	if !exists {
		if !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("open of %s, which was removed: %w", f.path, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	got, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	l.ops[5].Add(1)
	l.bytes.Add(int64(len(got)))
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s has %d bytes that are not the %d that were committed", f.path, len(got), len(want))
	}
	return nil
}

// clear reads everything once more, and removes it.
func (l *load) clear(t *testing.T) {
	var g errgroup.Group
	g.SetLimit(16)
	for _, f := range l.files {
		g.Go(func() error {
			err := l.read(f)
			if f.exists {
				err = errors.Join(err, os.Remove(f.path))
			}
			return err
		})
	}
	harness.Must(t, g.Wait())
}

func (l *load) counts() (all []int64) {
	for i := range l.ops {
		all = append(all, l.ops[i].Load())
	}
	return all
}
