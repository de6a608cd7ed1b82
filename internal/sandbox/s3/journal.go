package s3

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// A journal is the file that the index is rebuilt from: one transaction a line, as JSON. A line that a crash cut short
// is a transaction that did not happen. It is not synced: it survives the process, not the machine.
type journal struct {
	file *os.File
	size int64 // of the whole lines
}

// append writes one transaction, or leaves the file as it was.
func (j *journal) append(changes []change) error {
	line, err := json.Marshal(changes)
	if err != nil {
		return fmt.Errorf("encode a transaction: %w", err)
	}
	line = append(line, '\n')
	if _, err := j.file.WriteAt(line, j.size); err != nil {
		return errors.Join(fmt.Errorf("write a transaction: %w", err), j.file.Truncate(j.size))
	}
	j.size += int64(len(line))
	return nil
}

func (j *journal) close() error { return j.file.Close() }

// openDir reads the journal in dir, writes it anew without what is past, and removes blobs that nothing refers to.
func (s *store) openDir(dir string) error {
	disk, err := newDirBlobs(filepath.Join(dir, "blobs"))
	if err != nil {
		return err
	}
	s.blobs = disk
	path := filepath.Join(dir, "index.jsonl")
	if err := s.replay(path); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if s.journal, err = s.compact(path); err != nil {
		return fmt.Errorf("rewrite %s: %w", path, err)
	}
	return disk.keep(s.known())
}

// replay applies the transactions of the file, if there is one.
func (s *store) replay(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for in := bufio.NewReaderSize(f, 1<<20); ; {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return nil // what is left of a line is a transaction that did not happen
		}
		if err != nil {
			return err
		}
		var changes []change
		if err := json.Unmarshal(line, &changes); err != nil {
			return err
		}
		s.apply(changes)
	}
}

// compact writes a journal that leads to the index as it is, and puts it in the place of the old one.
func (s *store) compact(path string) (*journal, error) {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	encoder := json.NewEncoder(out)
	for name, b := range s.buckets {
		for _, c := range b.changes(name) {
			if err := encoder.Encode([]change{c}); err != nil {
				return nil, errors.Join(err, f.Close())
			}
		}
	}
	if err := errors.Join(out.Flush(), os.Rename(path+".new", path)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	size, err := f.Seek(0, io.SeekEnd)
	return &journal{file: f, size: size}, err
}

// changes lead from nothing to the bucket as it is.
func (b *bucket) changes(name string) []change {
	all := []change{{Bucket: name, Settings: &b.settings}}
	for _, key := range b.keys {
		for _, v := range slices.Backward(b.versions[key]) {
			all = append(all, change{Bucket: name, Put: v})
		}
	}
	for _, u := range b.uploads {
		begun := *u
		begun.Parts = nil
		all = append(all, change{Bucket: name, Begin: &begun})
		for _, p := range u.Parts {
			all = append(all, change{Bucket: name, Part: &uploadPart{u.ID, p}})
		}
	}
	return all
}

// known are the blobs that the index refers to.
func (s *store) known() map[string]bool {
	known := map[string]bool{}
	for _, b := range s.buckets {
		for _, all := range b.versions {
			for _, v := range all {
				if v.Content == nil {
					continue
				}
				for _, p := range v.Content.Parts {
					known[p.Blob] = true
				}
			}
		}
		for _, u := range b.uploads {
			for _, p := range u.Parts {
				known[p.Blob] = true
			}
		}
	}
	return known
}
