package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// checkOut refuses an output file that would be replaced unasked.
func (d *decryption) checkOut() error {
	if d.out == "-" {
		d.out = ""
	}
	if d.out == "" {
		return nil
	}
	info, err := os.Lstat(d.out)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("write %s: %w", d.out, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("write %s: it is no regular file; give another name, or leave -o out for standard output", d.out)
	case !d.force:
		return fmt.Errorf("write %s: it exists; give another name, or replace it with --force", d.out)
	}
	return nil
}

// toFile writes the content beside d.out and gives it that name when all of it
// was authenticated.
func (d *decryption) toFile(ctx context.Context, plain io.Reader) (err error) {
	f, err := os.CreateTemp(filepath.Dir(d.out), "."+filepath.Base(d.out)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w; choose a directory that you can write to", d.out, err)
	}
	remove := func() { os.Remove(f.Name()) }
	defer context.AfterFunc(ctx, remove)() // a second signal ends the process
	defer func() {
		if err != nil {
			remove()
		}
	}()
	if _, err := io.Copy(f, plain); err != nil {
		return errors.Join(d.explain(err), f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", d.out, err)
	}
	if err := d.checkOut(); err != nil {
		return err
	}
	return os.Rename(f.Name(), d.out)
}
