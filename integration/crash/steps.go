package crash

import (
	"errors"
	"os"
	"path/filepath"
)

// A step is one call of the program that a scenario plays.
type step struct {
	do    func() error
	after tree // what is there once do has returned nil; nil: what was there before
	whole bool // all of it, or nothing, after the next mount
}

// A work is a program at its steps, in a directory of its own.
type work struct {
	dir  string
	file *os.File // that it has open
}

func (w *work) path(name string) string { return filepath.Join(w.dir, name) }

// run takes the steps one after the other until one fails, and says to
// acknowledge when one has returned nil.
func (w *work) run(steps []step, acknowledge func() error) error {
	defer w.leave()
	for _, s := range steps {
		if err := s.do(); err != nil {
			return err
		}
		if err := acknowledge(); err != nil {
			return err
		}
	}
	return nil
}

// promised returns what is there after n steps were acknowledged, what may be
// there as well because the next step had begun, and whether that is to be whole.
func promised(there tree, steps []step, n int) (before, after tree, whole bool) {
	before = there
	for _, s := range steps[:n] {
		if s.after != nil {
			before = s.after
		}
	}
	if after = before; n < len(steps) && steps[n].after != nil {
		after, whole = steps[n].after, steps[n].whole
	}
	return before, after, whole
}

// leave closes what is open, as the end of a process does.
func (w *work) leave() {
	if w.file != nil {
		_ = w.file.Close()
	}
}

func (w *work) open(name string, flag int) func() error {
	return func() (err error) {
		w.file, err = os.OpenFile(w.path(name), flag, 0o644)
		return err
	}
}

func (w *work) write(content body) func() error {
	return func() error {
		_, err := w.file.Write(content())
		return err
	}
}

func (w *work) writeAt(content body, off int64) func() error {
	return func() error {
		_, err := w.file.WriteAt(content(), off)
		return err
	}
}

func (w *work) sync() error { return w.file.Sync() }

func (w *work) close() error {
	f := w.file
	w.file = nil
	return f.Close()
}

// change does something to a file under its name, and has it saved.
func (w *work) change(name string, do func(path string) error) func() error {
	return func() error {
		f, err := os.Open(w.path(name))
		if err != nil {
			return err
		}
		err = do(f.Name())
		if err == nil {
			err = f.Sync()
		}
		return errors.Join(err, f.Close())
	}
}

func (w *work) rename(from, to string) func() error {
	return func() error { return os.Rename(w.path(from), w.path(to)) }
}

func (w *work) remove(name string) func() error {
	return func() error { return os.Remove(w.path(name)) }
}
