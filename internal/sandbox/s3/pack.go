package s3

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// A pack holds the small blobs of a directory in one file, as creating a file costs more than all the rest of storing a
// small object. It is a sequence of records: 16 bytes of the name, 4 of the length, the blob. What is removed leaves a
// hole that goes when the directory is opened again.
type pack struct {
	file *os.File

	mu    sync.Mutex // held over appending a record: their order is that of the file
	end   int64
	blobs map[string]extent
}

// An extent is where a blob lies in the pack.
type extent struct{ off, size int64 }

const packHeader = 16 + 4

// openPack reads the records of a file, up to one that a crash cut short.
func openPack(path string) (*pack, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	p := &pack{file: f, blobs: map[string]extent{}}
	stat, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	var header [packHeader]byte
	for p.end+packHeader <= stat.Size() {
		if _, err := f.ReadAt(header[:], p.end); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		at := extent{p.end + packHeader, int64(binary.BigEndian.Uint32(header[16:]))}
		if at.off+at.size > stat.Size() {
			break
		}
		p.blobs[hex.EncodeToString(header[:16])] = at
		p.end = at.off + at.size
	}
	return p, nil
}

// append stores a blob.
func (p *pack) append(id string, blob []byte) error {
	name, err := hex.DecodeString(id)
	if err != nil || len(name) != 16 {
		return fmt.Errorf("pack blob %q: not a name", id)
	}
	record := binary.BigEndian.AppendUint32(name, uint32(len(blob)))
	record = append(record, blob...)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.file.WriteAt(record, p.end); err != nil {
		return fmt.Errorf("pack blob %s: %w", id, err)
	}
	p.blobs[id] = extent{p.end + packHeader, int64(len(blob))}
	p.end += int64(len(record))
	return nil
}

type packReader struct{ *io.SectionReader }

func (packReader) Close() error { return nil }

// open returns a reader of a blob, if the pack has it. The reader stays valid when the blob is removed.
func (p *pack) open(id string) (blobReader, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.blobs[id]
	return packReader{io.NewSectionReader(p.file, at.off, at.size)}, ok
}

// remove forgets a blob, and reports whether the pack had it.
func (p *pack) remove(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.blobs[id]
	delete(p.blobs, id)
	return ok
}

// keepOnly writes the pack at path anew with nothing but known blobs in it. Nobody else may use it yet.
func (p *pack) keepOnly(path string, known map[string]bool) error {
	if err := os.Remove(path + ".new"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	fresh, err := openPack(path + ".new")
	if err != nil {
		return err
	}
	for id, at := range p.blobs {
		if !known[id] {
			continue
		}
		blob := make([]byte, at.size)
		if _, err := p.file.ReadAt(blob, at.off); err != nil {
			return errors.Join(fmt.Errorf("read packed blob %s: %w", id, err), fresh.file.Close())
		}
		if err := fresh.append(id, blob); err != nil {
			return errors.Join(err, fresh.file.Close())
		}
	}
	if err := os.Rename(path+".new", path); err != nil {
		return errors.Join(err, fresh.file.Close())
	}
	old := p.file
	p.file, p.end, p.blobs = fresh.file, fresh.end, fresh.blobs
	return old.Close()
}

// A dirWriter writes a blob into the pack, or into a file of its own as soon as it is larger than one frame.
type dirWriter struct {
	in   *dirBlobs
	id   string
	buf  bytes.Buffer
	file *os.File // nil while the blob is small
}

func (w *dirWriter) Write(p []byte) (n int, err error) {
	if w.file == nil && w.buf.Len()+len(p) <= sealed {
		return w.buf.Write(p)
	}
	if w.file == nil {
		if w.file, err = os.OpenFile(w.in.path(w.id), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
			return 0, err
		}
		if _, err := w.file.Write(w.buf.Bytes()); err != nil {
			return 0, err
		}
		w.buf = bytes.Buffer{}
	}
	return w.file.Write(p)
}

// Close makes the blob complete.
func (w *dirWriter) Close() error {
	if w.file != nil {
		return w.file.Close()
	}
	return w.in.pack.append(w.id, w.buf.Bytes())
}
