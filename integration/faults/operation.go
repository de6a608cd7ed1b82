package faults

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// An Operation is something that a program does to a mount.
type Operation struct {
	Name string

	// before makes what the operation works on, without a fault.
	before func(s *site) error
	// open opens what act closes, before the fault.
	open func(s *site) error
	// act is the operation.
	act func(s *site) error
	// after checks what is there: if done, what the operation makes, else that
	// or what was there before. It runs on the same mount, and on the next one.
	after func(s *site, done bool) error
}

// site is where an operation works: a directory of its own.
type site struct {
	dir  string                                  // on the mount
	put  func(name string, content []byte) error // before only
	file *os.File                                // from open to act
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// opens is an open that keeps a descriptor.
func opens(name string, flag int) func(s *site) error {
	return func(s *site) (err error) {
		s.file, err = os.OpenFile(s.path(name), flag, 0o644)
		return err
	}
}

// nothing is what there is to be done before or to be opened.
func nothing(*site) error { return nil }

// Contents. The small one is a PutObject, the medium one some read-ahead
// windows of it; in the large one ranges stay where they are, for what is
// smaller than 16 MiB is sent whole.
var (
	small  = harness.Random(1, 20_000)
	newer  = harness.Random(2, 30_000)
	medium = harness.Random(3, 700_000)
	parted = harness.Random(4, 11<<20)
	large  = harness.Random(5, 16<<20+1)
)

// PartSize is the --part-size that makes several parts of parted.
const PartSize = "5MiB"

// holds wants one of the contents under a name; nil is that there is nothing.
func (s *site) holds(name string, contents ...[]byte) error {
	got, err := os.ReadFile(s.path(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, want := range contents {
		if (want == nil) == (err != nil) && bytes.Equal(got, want) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s holds %d bytes that nobody wrote so (%v)", errWrong, name, len(got), err)
}

// eitherOf returns what may be there: the new content, or if the operation did
// not succeed the old one as well.
func eitherOf(done bool, fresh, old []byte) [][]byte {
	if done {
		return [][]byte{fresh}
	}
	return [][]byte{fresh, old}
}

// finish closes the descriptor of open, after do.
func (s *site) finish(do func(f *os.File) error) error {
	f := s.file
	s.file = nil
	return errors.Join(do(f), f.Close())
}

// wrote is an operation that opens a file, and writes and closes it under the
// fault. old is its content before, nil if it is new.
func wrote(name string, old []byte, flag int, write func(f *os.File) error, fresh []byte) Operation {
	return Operation{
		Name: name,
		before: func(s *site) error {
			if old == nil {
				return nil
			}
			return s.put("file", old)
		},
		open:  opens("file", flag),
		act:   func(s *site) error { return s.finish(write) },
		after: func(s *site, done bool) error { return s.holds("file", eitherOf(done, fresh, old)...) },
	}
}

// makes is an operation that makes one thing in one request.
func makes(name string, act func(s *site) error, is func(s *site) error) Operation {
	return Operation{
		Name:   name,
		before: nothing,
		act:    act,
		after: func(s *site, done bool) error {
			_, err := os.Lstat(s.path("new"))
			if !done && errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return is(s)
		},
	}
}
