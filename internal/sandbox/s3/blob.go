package s3

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// blobs keep sealed bytes under random names. A blob is written once, never changed, and removed when no version, part
// or reader needs it any more.
type blobs interface {
	create(id string) (io.WriteCloser, error) // until Close the blob may be incomplete
	open(id string) (blobReader, error)
	remove(id string) error           // an absent blob is no error
	keep(known map[string]bool) error // removes all others
	close() error
}

type blobReader interface {
	io.ReaderAt
	io.Closer
}

// newID returns a random name of 128 bits.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand documents it
	return hex.EncodeToString(b[:])
}

// memoryBlobs are the blobs of a server without a directory.
type memoryBlobs struct {
	mu    sync.Mutex
	blobs map[string]pieces
}

// pieces are a blob as it was written: one buffer that grows would be copied over and over.
type pieces [][]byte

func newMemoryBlobs() *memoryBlobs { return &memoryBlobs{blobs: map[string]pieces{}} }

type memoryWriter struct {
	pieces
	id string
	in *memoryBlobs
}

func (m *memoryBlobs) create(id string) (io.WriteCloser, error) {
	return &memoryWriter{id: id, in: m}, nil
}

// Write keeps a copy of p.
func (w *memoryWriter) Write(p []byte) (int, error) {
	w.pieces = append(w.pieces, slices.Clone(p))
	return len(p), nil
}

// Close stores the blob.
func (w *memoryWriter) Close() error {
	w.in.mu.Lock()
	defer w.in.mu.Unlock()
	w.in.blobs[w.id] = w.pieces
	return nil
}

// ReadAt reads on over the ends of pieces.
func (b pieces) ReadAt(p []byte, off int64) (n int, err error) {
	for _, piece := range b {
		if off < int64(len(piece)) {
			n += copy(p[n:], piece[off:])
			off = 0
		} else {
			off -= int64(len(piece))
		}
		if n == len(p) {
			return n, nil
		}
	}
	return n, io.EOF
}

func (pieces) Close() error { return nil }

func (m *memoryBlobs) open(id string) (blobReader, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blobs[id]
	if !ok {
		return nil, fmt.Errorf("open blob %s: %w", id, fs.ErrNotExist)
	}
	return b, nil
}

func (m *memoryBlobs) remove(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blobs, id)
	return nil
}

func (m *memoryBlobs) keep(map[string]bool) error { return nil }

func (m *memoryBlobs) close() error { return nil }

// dirBlobs are files below a directory, spread over 256 subdirectories, and a pack of the small ones.
type dirBlobs struct {
	dir  string
	pack *pack
}

func newDirBlobs(dir string) (*dirBlobs, error) {
	for i := range 256 {
		if err := os.MkdirAll(filepath.Join(dir, fmt.Sprintf("%02x", i)), 0o700); err != nil {
			return nil, err
		}
	}
	small, err := openPack(filepath.Join(dir, packName))
	return &dirBlobs{dir, small}, err
}

const packName = "small.pack"

func (d *dirBlobs) path(id string) string { return filepath.Join(d.dir, id[:2], id) }

func (d *dirBlobs) create(id string) (io.WriteCloser, error) { return &dirWriter{in: d, id: id}, nil }

func (d *dirBlobs) open(id string) (blobReader, error) {
	if r, ok := d.pack.open(id); ok {
		return r, nil
	}
	return os.Open(d.path(id))
}

func (d *dirBlobs) remove(id string) error {
	if d.pack.remove(id) {
		return nil
	}
	if err := os.Remove(d.path(id)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keep removes what was removed from the pack, and what a crash left behind: every blob that is not known.
func (d *dirBlobs) keep(known map[string]bool) error {
	if err := d.pack.keepOnly(filepath.Join(d.dir, packName), known); err != nil {
		return err
	}
	return filepath.WalkDir(d.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || known[entry.Name()] || filepath.Dir(path) == d.dir {
			return err
		}
		return os.Remove(path)
	})
}

func (d *dirBlobs) close() error { return d.pack.file.Close() }
