package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sync/errgroup"
)

// copiers is how many files are copied or compared at a time.
const copiers = 8

// largeName is the large file's name in the mount.
const largeName = "large.bin"

// seed makes the large file's content, which is compressed by nobody and is
// made again for comparing.
var seed = [32]byte{'k', 'm', 's', 'f', 's'}

// realFiles returns a directory of real files: Go's sources, else documents.
func realFiles() string {
	if out, err := exec.Command("go", "env", "GOROOT").Output(); err == nil {
		dir := filepath.Join(strings.TrimSpace(string(out)), "src")
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
	}
	return "/usr/share/doc"
}

// listing is what a tree holds: directories, and files with their sizes, all
// by names relative to it. Links and special files are left out.
type listing struct {
	dirs  []string
	files map[string]int64
}

// list walks a tree.
func list(ctx context.Context, root string) (listing, error) {
	l := listing{files: map[string]int64{}}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			l.dirs = append(l.dirs, name)
		case e.Type().IsRegular():
			info, err := e.Info()
			if err != nil {
				return err
			}
			l.files[name] = info.Size()
		}
		return nil
	})
	return l, err
}

// bytes returns the size of all files together.
func (l listing) bytes() (total int64) {
	for _, n := range l.files {
		total += n
	}
	return total
}

// each calls work for every file, several at a time, and shows progress.
func (d *demo) each(ctx context.Context, what string, l listing, work func(ctx context.Context, name string) error) error {
	var files, bytes atomic.Int64
	total := l.bytes()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(copiers + 1)
	done := make(chan struct{})
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		d.watch(done, func() {
			d.show.set("%s: %s of %d files, %s of %s", what, humanize.Comma(files.Load()), len(l.files),
				humanize.IBytes(uint64(bytes.Load())), humanize.IBytes(uint64(total)))
		})
	}()
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			defer files.Add(1)
			defer bytes.Add(l.files[name])
			return work(ctx, name)
		})
	}
	err := g.Wait()
	close(done)
	<-shown
	if err == nil {
		err = context.Cause(ctx)
		if errors.Is(err, context.Canceled) && files.Load() == int64(len(l.files)) {
			err = nil // Wait cancels the group's own context
		}
	}
	return err
}

// watch calls show regularly until done is closed.
func (d *demo) watch(done <-chan struct{}, show func()) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			show()
		}
	}
}

// copyTree copies the real files into the mount.
func (d *demo) copyTree(ctx context.Context) (string, error) {
	l, err := list(ctx, d.tree)
	if err != nil {
		return "", err
	}
	target := filepath.Join(d.dir, "tree")
	for _, name := range l.dirs { // parents come before children
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err := os.Mkdir(filepath.Join(target, name), 0o755); err != nil {
			return "", err
		}
		d.show.set("copy: making directories: %s", name)
	}
	err = d.each(ctx, "copy", l, func(_ context.Context, name string) error {
		return copyFile(filepath.Join(d.tree, name), filepath.Join(target, name))
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s files, %s, in %s directories, from %s", humanize.Comma(int64(len(l.files))),
		humanize.IBytes(uint64(l.bytes())), humanize.Comma(int64(len(l.dirs))), d.tree), nil
}

// copyFile copies one file; it is in the bucket when this returns nil.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(onlyWriter{out}, onlyReader{in})
	return errors.Join(err, out.Close())
}

// onlyReader and onlyWriter keep io.Copy from asking the kernel to copy, so
// that the demo does what other programs do.
type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }

// compare reads everything back.
func (d *demo) compare(ctx context.Context) (string, error) {
	n, err := d.compareTrees(ctx, d.tree, filepath.Join(d.dir, "tree"))
	if err != nil {
		return "", err
	}
	start := time.Now()
	if err := d.compareLarge(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s files and the large one are equal (large one: %s)", humanize.Comma(int64(n)), rate(d.size, start)), nil
}

// compareTrees returns how many files both trees hold, if all are equal.
func (d *demo) compareTrees(ctx context.Context, want, got string) (int, error) {
	wanted, err := list(ctx, want)
	if err != nil {
		return 0, err
	}
	found, err := list(ctx, got)
	if err != nil {
		return 0, err
	}
	if !maps.Equal(wanted.files, found.files) || !slices.Equal(wanted.dirs, found.dirs) {
		return 0, fmt.Errorf("%s has %d files in %d directories, %s has %d in %d, or names or sizes differ",
			want, len(wanted.files), len(wanted.dirs), got, len(found.files), len(found.dirs))
	}
	return len(wanted.files), d.each(ctx, "compare", wanted, func(_ context.Context, name string) error {
		a, err := os.ReadFile(filepath.Join(want, name))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(got, name))
		if err != nil {
			return err
		}
		if !bytes.Equal(a, b) {
			return fmt.Errorf("%s differs from the original", filepath.Join(got, name))
		}
		return nil
	})
}

// writeLarge writes the large file as a stream.
func (d *demo) writeLarge(ctx context.Context) (string, error) {
	start := time.Now()
	out, err := os.Create(filepath.Join(d.dir, largeName))
	if err != nil {
		return "", err
	}
	err = d.stream(ctx, "write", func(chunk []byte) error {
		_, err := out.Write(chunk)
		return err
	})
	d.show.set("write: waiting for close")
	if err := errors.Join(err, out.Close()); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, %s until it was in the bucket", humanize.IBytes(uint64(d.size)), rate(d.size, start)), nil
}

// compareLarge reads the large file as a stream.
func (d *demo) compareLarge(ctx context.Context) error {
	in, err := os.Open(filepath.Join(d.dir, largeName))
	if err != nil {
		return err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || info.Size() != d.size {
		return fmt.Errorf("%s: size %d, error %v; %d bytes were written", in.Name(), info.Size(), err, d.size)
	}
	got := make([]byte, 1<<20)
	return d.stream(ctx, "compare", func(want []byte) error {
		if _, err := io.ReadFull(in, got[:len(want)]); err != nil {
			return err
		}
		if !bytes.Equal(want, got[:len(want)]) {
			return fmt.Errorf("%s differs from what was written", in.Name())
		}
		return nil
	})
}

// stream hands the large file's content to use, piece by piece.
func (d *demo) stream(ctx context.Context, what string, use func(chunk []byte) error) error {
	source := rand.NewChaCha8(seed)
	chunk := make([]byte, 1<<20)
	for done := int64(0); done < d.size; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n := min(int64(len(chunk)), d.size-done)
		source.Read(chunk[:n]) // never fails
		if err := use(chunk[:n]); err != nil {
			return err
		}
		done += n
		d.show.set("%s: %s of %s", what, humanize.IBytes(uint64(done)), humanize.IBytes(uint64(d.size)))
	}
	return nil
}

// rate says how fast n bytes were moved.
func rate(n int64, start time.Time) string {
	return fmt.Sprintf("%.0f MiB/s", float64(n)/(1<<20)/time.Since(start).Seconds())
}
