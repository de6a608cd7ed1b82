package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/kmsfs/kmsfs/s3io"
)

func TestErrnoTable(t *testing.T) {
	of := func(k s3io.Kind) error {
		return fmt.Errorf("put x: %w", &s3io.Error{Kind: k, Op: "put", Err: syscall.EPIPE})
	}
	for _, c := range []struct {
		err           error
		plain, commit syscall.Errno
	}{
		{nil, 0, 0},
		{of(s3io.NotExist), syscall.ENOENT, syscall.ESTALE},
		{of(s3io.Permission), syscall.EACCES, syscall.EACCES},
		{of(s3io.KeyDisabled), errnoKeyDisabled, errnoKeyDisabled},
		{of(s3io.KeyNotFound), errnoKeyNotFound, errnoKeyNotFound},
		{of(s3io.KeyRejected), errnoKeyRejected, errnoKeyRejected},
		{of(s3io.Integrity), syscall.EBADMSG, syscall.EBADMSG},
		{of(s3io.Stale), syscall.ESTALE, syscall.ESTALE},
		{of(s3io.Exists), syscall.EEXIST, syscall.ESTALE},
		{of(s3io.TooLarge), syscall.EFBIG, syscall.EFBIG},
		{of(s3io.NoSpace), syscall.ENOSPC, syscall.ENOSPC},
		{of(s3io.NameTooLong), syscall.ENAMETOOLONG, syscall.ENAMETOOLONG},
		{of(s3io.ReadOnlyBucket), syscall.EROFS, syscall.EROFS},
		{of(s3io.Timeout), syscall.ETIMEDOUT, syscall.EIO},
		{of(s3io.Interrupted), syscall.EINTR, syscall.EINTR},
		{of(s3io.Unsupported), syscall.ENOTSUP, syscall.ENOTSUP},
		{of(s3io.Unverified), syscall.EIO, syscall.EIO},
		{of(s3io.Misconfigured), syscall.EIO, syscall.EIO},
		{of(s3io.Other), syscall.EIO, syscall.EIO},
		{errDying, syscall.EINTR, syscall.EINTR},
		{context.DeadlineExceeded, syscall.ETIMEDOUT, syscall.EIO},
		// A missing credentials file is not "your file is gone".
		{fmt.Errorf("load: %w", &fs.PathError{Op: "open", Path: "credentials", Err: syscall.ENOENT}), syscall.EIO, syscall.EIO},
		{&fault{syscall.ENOTEMPTY, "x"}, syscall.ENOTEMPTY, syscall.ENOTEMPTY},
	} {
		if got := errnoOf(c.err, false); got != c.plain {
			t.Errorf("%v is %v, want %v", c.err, got, c.plain)
		}
		if got := errnoOf(c.err, true); got != c.commit {
			t.Errorf("%v in a commit is %v, want %v", c.err, got, c.commit)
		}
	}
}

func TestGateExcludes(t *testing.T) {
	g := newGate()
	ctx, cancel := context.WithCancelCause(context.Background())
	if err := g.share(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.share(ctx); err != nil {
		t.Fatal("two cannot share:", err)
	}
	if g.sem.TryAcquire(gateWidth) {
		t.Fatal("locked while shared")
	}
	g.unshare()
	g.unshare()
	if !g.sem.TryAcquire(gateWidth) {
		t.Fatal("not free after all shares")
	}
	cancel(errDying)
	if err := g.share(ctx); !errors.Is(err, errDying) {
		t.Fatalf("waiting ended with %v", err)
	}
	g.unlock()
}

func TestInodeNumbersAreSalted(t *testing.T) {
	f := &FS{inos: make(map[uint64]node)}
	first := f.freeInoLocked("/a")
	if first != f.freeInoLocked("/a") || first != inoOf("/a") {
		t.Fatal("the number of a path is not stable")
	}
	f.inos[first] = &file{}
	second := f.freeInoLocked("/a")
	if second == first || second <= 1 {
		t.Fatalf("a number that is taken was given again: %d", second)
	}
	delete(f.inos, first)
	if f.freeInoLocked("/a") != first {
		t.Fatal("the number is not free again")
	}
}

func TestHeadsAreBounded(t *testing.T) {
	h := newHeads(2)
	object := func(key string) s3io.Object {
		return s3io.Object{Key: key, ETag: "e", LastModified: attributesOf(map[string]string{"mtime": "1"}, attributes{}).mtime, Head: true}
	}
	listed := func(key string) s3io.Object { o := object(key); o.Head = false; return o }
	h.put(object("a"), 0)
	h.put(object("b"), 0)
	h.get(listed("a"))
	h.put(object("c"), 0)
	if h.has(listed("b")) || !h.has(listed("a")) || !h.has(listed("c")) {
		t.Error("not the least recently used was forgotten")
	}
	changed := listed("a")
	changed.ETag = "f"
	if h.has(changed) {
		t.Error("another state of the object is taken for the known one")
	}
}
