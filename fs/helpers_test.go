//go:build linux

package fs

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/s3io"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func stat(t *testing.T, path string) syscall.Stat_t {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	return st
}

func appendTo(t *testing.T, path, more string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	check(t, err)
	_, err = f.WriteString(more)
	check(t, errors.Join(err, f.Close()))
}

// waitFor asks until a condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// keys lists the whole bucket under the mount's prefix.
func (w *world) keys() []string {
	w.t.Helper()
	var keys []string
	q := s3io.ListQuery{Max: 1000}
	b := w.other()
	for {
		page, err := b.List(context.Background(), q)
		check(w.t, err)
		for _, o := range page.Objects {
			keys = append(keys, o.Key)
		}
		if q.Token = page.Token; q.Token == "" {
			return keys
		}
	}
}

func (w *world) head(b *s3io.Bucket, key string) s3io.Object {
	w.t.Helper()
	o, err := b.Head(context.Background(), key)
	check(w.t, err)
	return o
}

func fillBucket(t *testing.T, w *world, b *s3io.Bucket, prefix string, names []string) {
	t.Helper()
	objects := make([]s3io.Object, len(names))
	for i, n := range names {
		objects[i].Key = prefix + n
	}
	check(t, side(context.Background(), parallel, objects, func(ctx context.Context, o s3io.Object) error {
		_, err := b.Put(ctx, o.Key, strings.NewReader(""), 0, s3io.Attrs{Meta: map[string]string{"mode": "33200"}}, s3io.Condition{})
		return err
	}))
}

// seekInDir reads a directory to some place, notes the offset, reads on, and
// expects the same names after seeking back.
func seekInDir(t *testing.T, path string, n int) {
	t.Helper()
	d, err := os.Open(path)
	check(t, err)
	defer d.Close()
	_, err = d.Readdirnames(n / 5)
	check(t, err)
	// What is left in os.File's buffer is not at this offset, so both readings
	// begin at it with getdents alone.
	off, err := syscall.Seek(int(d.Fd()), 0, io.SeekCurrent)
	check(t, err)
	rest := func() (all []string) {
		buf := make([]byte, 64<<10)
		for {
			k, err := syscall.Getdents(int(d.Fd()), buf)
			check(t, err)
			if k == 0 {
				return all
			}
			_, _, all = syscall.ParseDirent(buf[:k], -1, all)
		}
	}
	first := rest()
	_, err = syscall.Seek(int(d.Fd()), off, io.SeekStart)
	check(t, err)
	if second := rest(); !slices.Equal(first, second) || len(first) < n/2 {
		t.Errorf("after seeking %d names, before %d", len(second), len(first))
	}
}

func attrsOf(o s3io.Object) s3io.Attrs { return s3io.Attrs{Meta: o.Meta, Headers: o.Headers} }

func ifMatch(o s3io.Object) s3io.Condition { return s3io.Condition{IfMatch: o.ETag} }
