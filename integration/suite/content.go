package suite

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// sizes straddle every boundary of the write path: nothing, one request, the
// part size, several parts.
var sizes = []int{0, 1, 4096, 128<<10 + 1, 5<<20 - 1, 5 << 20, 8<<20 - 1, 8 << 20, 8<<20 + 1, 16 << 20, 41 << 20}

func roundTrip(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	for i, n := range sizes {
		name, body := fmt.Sprintf("file-%d", n), random(uint64(i), n)
		write(t, m.Path(name), body)
		equal(t, "object "+name, s.Get(t, name), body)
		want(t, m.Path(name), body)
	}
	s.MustBeEncrypted(t)
}

func remount(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	for i, n := range sizes {
		write(t, m.Path(fmt.Sprint(n)), random(uint64(i), n))
	}
	m.Unmount()
	m = s.Mount(t, "--read-only")
	for i, n := range sizes {
		want(t, m.Path(fmt.Sprint(n)), random(uint64(i), n))
	}
	wantErrno(t, "write on a read-only mount", os.WriteFile(m.Path("new"), nil, 0o644), syscall.EROFS)
}

func appendAndWriteOn(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	for _, base := range []int{10, 5<<20 + 3, 20 << 20} {
		body, more := random(1, base), random(2, 6<<20)
		path := m.Path(fmt.Sprint("append-", base))
		write(t, path, body)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		must(t, err)
		_, err = f.Write(more)
		must(t, err)
		must(t, f.Close())
		want(t, path, append(body, more...))
		equal(t, path, s.Get(t, fmt.Sprint("append-", base)), append(body, more...))
	}
	// Each child closes the descriptor that it inherited.
	script := fmt.Sprintf("(echo one; /bin/echo two; /bin/echo three) > %s", m.Path("children"))
	tool(t, nil, "sh", "-c", script)
	want(t, m.Path("children"), []byte("one\ntwo\nthree\n"))
	s.MustBeEncrypted(t)
}

func fsyncPublishes(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	f, err := os.Create(m.Path("journal"))
	must(t, err)
	var all []byte
	for i, n := range []int{100, 3 << 20, 12 << 20, 1} {
		piece := random(uint64(i), n)
		all = append(all, piece...)
		_, err = f.Write(piece)
		must(t, err)
		must(t, f.Sync())
		equal(t, "object after fsync", s.Get(t, "journal"), all)
	}
	must(t, f.Close())
	equal(t, "object after close", s.Get(t, "journal"), all)
}

func truncateAndReplace(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	path := m.Path("f")
	write(t, path, random(1, 10<<20))
	write(t, path, []byte("short"))
	want(t, path, []byte("short"))
	must(t, os.Truncate(path, 0))
	want(t, path, nil)
	equal(t, "object", s.Get(t, "f"), nil)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = f.Write([]byte("first"))
	must(t, err)
	_, err = f.WriteAt([]byte("F"), 0)
	must(t, err)
	got := make([]byte, 5)
	_, err = f.ReadAt(got, 0)
	must(t, err)
	equal(t, "own unfinished write", got, []byte("First"))
	must(t, f.Close())
	equal(t, "object", s.Get(t, "f"), []byte("First"))
}

func randomWritesRefused(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	body := random(7, 30<<20)
	write(t, m.Path("f"), body)
	f, err := os.OpenFile(m.Path("f"), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("x"), 12<<20)
	wantErrno(t, "write in the middle", err, syscall.ENOTSUP)
	f.Close()
	want(t, m.Path("f"), body)
	for _, size := range []int64{12 << 20, 1 << 20, 100} { // shorter is possible: the object's start is copied
		must(t, os.Truncate(m.Path("f"), size))
		equal(t, "object", s.Get(t, "f"), body[:size])
	}
}

func randomReads(t *testing.T, s *harness.Server) {
	body := random(3, 15<<20) // MinIO takes no larger body from the client's SDK over TLS
	s.Put(t, "f", body)
	m := s.Mount(t)
	f, err := os.Open(m.Path("f"))
	must(t, err)
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
	must(t, g.Wait())
}

func manyWriters(t *testing.T, s *harness.Server) {
	m := s.Mount(t, "--memory", "64MiB")
	var g errgroup.Group
	for i := range 16 {
		g.Go(func() error {
			f, err := os.Create(m.Path(fmt.Sprint("w", i)))
			if err != nil {
				return err
			}
			body := random(uint64(i), 12<<20)
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
	must(t, g.Wait())
	for i := range 16 {
		equal(t, fmt.Sprint("w", i), s.Get(t, fmt.Sprint("w", i)), random(uint64(i), 12<<20))
	}
	s.MustBeEncrypted(t)
}

func unlinkOpen(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	body := random(4, 9<<20)
	write(t, m.Path("f"), body)
	f, err := os.Open(m.Path("f"))
	must(t, err)
	must(t, os.Remove(m.Path("f")))
	got, err := io.ReadAll(f)
	must(t, err)
	equal(t, "unlinked open file", got, body)
	must(t, f.Close())

	g, err := os.Create(m.Path("g"))
	must(t, err)
	_, err = g.Write(body)
	must(t, err)
	must(t, os.Remove(m.Path("g")))
	must(t, g.Close())
	m.Unmount()
	if keys := s.Keys(t); len(keys) != 0 {
		t.Errorf("deleted files came back: %q", keys)
	}
}

func unsupported(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	write(t, m.Path("f"), []byte("x"))
	wantErrno(t, "symlink", os.Symlink("f", m.Path("link")), syscall.ENOTSUP)
	wantErrno(t, "hard link", os.Link(m.Path("f"), m.Path("hard")), syscall.EPERM)
	wantErrno(t, "setxattr", syscall.Setxattr(m.Path("f"), "user.x", []byte("1"), 0), syscall.ENOTSUP)
	wantErrno(t, "create below .kmsfs", os.Mkdir(m.Path(".kmsfs"), 0o755), syscall.EPERM)
	if got := names(t, m.Dir); strings.Join(got, " ") != "f" {
		t.Errorf("the tree has %q, want f alone", got)
	}
	out, err := exec.Command("mkfifo", m.Path("fifo")).CombinedOutput()
	if err == nil {
		t.Errorf("mkfifo succeeded: %s", out)
	}
}
