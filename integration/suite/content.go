package suite

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// sizes straddle every boundary of the write path: nothing, a frame of envelope
// objects, one request, the part size, several parts.
var sizes = []int{0, 1, 4096, 64<<10 - 1, 64 << 10, 64<<10 + 1, 128<<10 + 1, 5<<20 - 1, 5 << 20, 8<<20 - 1, 8 << 20, 8<<20 + 1, 16 << 20, 41 << 20}

func roundTrip(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	for i, n := range sizes {
		name, body := fmt.Sprintf("file-%d", n), harness.Random(uint64(i), n)
		harness.Write(t, m.Path(name), body)
		harness.Equal(t, "object "+name, s.Get(t, name), body)
		harness.Want(t, m.Path(name), body)
	}
	s.MustBeEncrypted(t)
}

func remount(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	for i, n := range sizes {
		harness.Write(t, m.Path(fmt.Sprint(n)), harness.Random(uint64(i), n))
	}
	m.Unmount()
	m = s.Mount(t, "--read-only")
	for i, n := range sizes {
		harness.Want(t, m.Path(fmt.Sprint(n)), harness.Random(uint64(i), n))
	}
	harness.WantErrno(t, "write on a read-only mount", os.WriteFile(m.Path("new"), nil, 0o644), syscall.EROFS)
}

func appendAndWriteOn(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	for _, base := range []int{10, 5<<20 + 3, 20 << 20} {
		body, more := harness.Random(1, base), harness.Random(2, 6<<20)
		path := m.Path(fmt.Sprint("append-", base))
		harness.Write(t, path, body)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		harness.Must(t, err)
		_, err = f.Write(more)
		harness.Must(t, err)
		harness.Must(t, f.Close())
		harness.Want(t, path, append(body, more...))
		harness.Equal(t, path, s.Get(t, fmt.Sprint("append-", base)), append(body, more...))
	}
	// Each child closes the descriptor that it inherited.
	script := fmt.Sprintf("(echo one; /bin/echo two; /bin/echo three) > %s", m.Path("children"))
	tool(t, nil, "sh", "-c", script)
	harness.Want(t, m.Path("children"), []byte("one\ntwo\nthree\n"))
	s.MustBeEncrypted(t)
}

func fsyncPublishes(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	f, err := os.Create(m.Path("journal"))
	harness.Must(t, err)
	var all []byte
	for i, n := range []int{100, 3 << 20, 12 << 20, 1} {
		piece := harness.Random(uint64(i), n)
		all = append(all, piece...)
		_, err = f.Write(piece)
		harness.Must(t, err)
		harness.Must(t, f.Sync())
		harness.Equal(t, "object after fsync", s.Get(t, "journal"), all)
	}
	harness.Must(t, f.Close())
	harness.Equal(t, "object after close", s.Get(t, "journal"), all)
}

func truncateAndReplace(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	path := m.Path("f")
	harness.Write(t, path, harness.Random(1, 10<<20))
	harness.Write(t, path, []byte("short"))
	harness.Want(t, path, []byte("short"))
	harness.Must(t, os.Truncate(path, 0))
	harness.Want(t, path, nil)
	harness.Equal(t, "object", s.Get(t, "f"), nil)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	harness.Must(t, err)
	_, err = f.Write([]byte("first"))
	harness.Must(t, err)
	_, err = f.WriteAt([]byte("F"), 0)
	harness.Must(t, err)
	got := make([]byte, 5)
	_, err = f.ReadAt(got, 0)
	harness.Must(t, err)
	harness.Equal(t, "own unfinished write", got, []byte("First"))
	harness.Must(t, f.Close())
	harness.Equal(t, "object", s.Get(t, "f"), []byte("First"))
}

// directWrites checks that readers never see pages from before a write that
// went past the page cache, as those of write-only descriptors do.
func directWrites(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	path, body := m.Path("f"), harness.Random(1, 300_000)
	harness.Write(t, path, body)
	reader, err := os.Open(path)
	harness.Must(t, err)
	defer reader.Close()
	for i, off := range []int64{0, 4096, 131_072, 299_000} {
		harness.Want(t, path, body) // all of it is in the page cache now
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		harness.Must(t, err)
		piece := harness.Random(uint64(i+2), 1000)
		_, err = w.WriteAt(piece, off)
		harness.Must(t, err)
		copy(body[off:], piece)
		got := make([]byte, len(body))
		_, err = reader.ReadAt(got, 0)
		harness.Must(t, err)
		harness.Equal(t, "through an open descriptor, before the writer closes", got, body)
		harness.Must(t, w.Close())
		harness.Want(t, path, body)
		harness.Equal(t, "object", s.Get(t, "f"), body)
	}
}

func randomReads(t *testing.T, s *harness.Server) {
	body := harness.Random(3, 15<<20) // MinIO takes no larger body from the client's SDK over TLS
	s.Put(t, "f", body)
	m := s.Mount(t)
	f, err := os.Open(m.Path("f"))
	harness.Must(t, err)
	defer f.Close()
	var g errgroup.Group
	for w := range 8 {
		g.Go(func() error {
			for i := range 20 {
				off := int64((w*7919 + i*104729*37) % len(body))
				buf := make([]byte, 1+(w*i*4099)%(300<<10))
				n, err := f.ReadAt(buf, off)
				if err != nil && err != io.EOF {
					return err
				}
				if string(buf[:n]) != string(body[off:off+int64(n)]) {
					return fmt.Errorf("wrong bytes at %d+%d", off, n)
				}
			}
			return nil
		})
	}
	harness.Must(t, g.Wait())
}

func manyWriters(t *testing.T, s *harness.Server) {
	m := s.Mount(t, "--memory", "64MiB")
	const writers = 10 // of more than memory takes
	var g errgroup.Group
	for i := range writers {
		g.Go(func() error {
			f, err := os.Create(m.Path(fmt.Sprint("w", i)))
			if err != nil {
				return err
			}
			body := harness.Random(uint64(i), 12<<20)
			for len(body) > 0 {
				n := min(len(body), 300_001)
				if _, err := f.Write(body[:n]); err != nil {
					return err
				}
				body = body[n:]
			}
			return f.Close()
		})
	}
	harness.Must(t, g.Wait())
	for i := range writers {
		harness.Equal(t, fmt.Sprint("w", i), s.Get(t, fmt.Sprint("w", i)), harness.Random(uint64(i), 12<<20))
	}
	s.MustBeEncrypted(t)
}

func unlinkOpen(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	body := harness.Random(4, 9<<20)
	harness.Write(t, m.Path("f"), body)
	f, err := os.Open(m.Path("f"))
	harness.Must(t, err)
	harness.Must(t, os.Remove(m.Path("f")))
	got, err := io.ReadAll(f)
	harness.Must(t, err)
	harness.Equal(t, "unlinked open file", got, body)
	harness.Must(t, f.Close())

	g, err := os.Create(m.Path("g"))
	harness.Must(t, err)
	_, err = g.Write(body)
	harness.Must(t, err)
	harness.Must(t, os.Remove(m.Path("g")))
	harness.Must(t, g.Close())
	m.Unmount()
	if keys := s.Keys(t); len(keys) != 0 {
		t.Errorf("deleted files came back: %q", keys)
	}
}

func unsupported(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	harness.Write(t, m.Path("f"), []byte("x"))
	harness.WantErrno(t, "hard link", os.Link(m.Path("f"), m.Path("hard")), syscall.EPERM)
	harness.WantErrno(t, "setxattr of an ACL", syscall.Setxattr(m.Path("f"), "system.posix_acl_access", []byte("\x02\x00\x00\x00"), 0), syscall.ENOTSUP)
	harness.WantErrno(t, "create below .kmsfs", os.Mkdir(m.Path(".kmsfs"), 0o755), syscall.EPERM)
	if got := harness.Names(t, m.Dir); strings.Join(got, " ") != "f" {
		t.Errorf("the tree has %q, want f alone", got)
	}
	m.Unmount()
	m = s.Mount(t, "--posix-attrs=off")
	harness.WantErrno(t, "symlink without attributes", os.Symlink("f", m.Path("link")), syscall.EPERM)
	harness.WantErrno(t, "mkfifo without attributes", syscall.Mkfifo(m.Path("fifo"), 0o600), syscall.EPERM)
}
