package suite

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// writeAnywhere changes a file in its middle, at its ends and beyond, and sees that
// through every descriptor before it is committed.
func writeAnywhere(t *testing.T, s *harness.Server) {
	body := harness.Random(7, 30<<20)
	m := s.Mount(t)
	path := m.Path("f")
	harness.Write(t, path, body)
	reader, err := os.Open(path)
	harness.Must(t, err)
	defer reader.Close()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	harness.Must(t, err)
	for i, off := range []int64{12 << 20, 0, 30<<20 - 5, 20<<20 + 1, 12<<20 + 100} {
		piece := harness.Random(uint64(20+i), 4096)
		_, err := f.WriteAt(piece, off)
		harness.Must(t, err)
		body = append(body, make([]byte, max(0, int(off)+len(piece)-len(body)))...)
		copy(body[off:], piece)
	}
	got := make([]byte, len(body))
	_, err = reader.ReadAt(got, 0)
	harness.Must(t, err)
	harness.Equal(t, "what another descriptor reads before close", got, body)
	harness.Must(t, f.Sync())
	harness.Equal(t, "object after fsync", s.Get(t, "f"), body)
	_, err = f.WriteAt([]byte("again"), 25<<20)
	harness.Must(t, err)
	copy(body[25<<20:], "again")
	harness.Must(t, f.Truncate(29<<20))
	body = body[:29<<20]
	harness.Must(t, f.Close())
	harness.Equal(t, "object after close", s.Get(t, "f"), body)
	for _, size := range []int{12 << 20, 1 << 20, 100} {
		harness.Must(t, os.Truncate(path, int64(size)))
		harness.Equal(t, "object after truncate", s.Get(t, "f"), body[:size])
	}
	harness.Want(t, path, body[:100])
}

// rewriteSent reads and rewrites parts of a new file that were sent already, by a
// descriptor that can only write, and by one that can read as well.
func rewriteSent(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	for name, flag := range map[string]int{"written": os.O_WRONLY, "kept": os.O_RDWR} {
		body := harness.Random(8, 40<<20)
		f, err := os.OpenFile(m.Path(name), flag|os.O_CREATE, 0o644)
		harness.Must(t, err)
		_, err = f.Write(body)
		harness.Must(t, err)
		_, err = f.WriteAt([]byte("patched"), 20<<20)
		harness.Must(t, err)
		copy(body[20<<20:], "patched")
		reader, err := os.Open(m.Path(name))
		harness.Must(t, err)
		got := make([]byte, 1<<20)
		_, err = reader.ReadAt(got, 20<<20-1000)
		harness.Must(t, err)
		harness.Equal(t, "what another descriptor reads", got, body[20<<20-1000:][:len(got)])
		harness.Must(t, reader.Close())
		_, err = f.WriteAt([]byte("tail"), int64(len(body)))
		harness.Must(t, err)
		harness.Must(t, f.Close())
		harness.Equal(t, name, s.Get(t, name), append(body, "tail"...))
	}
}

// holes makes them in every way, and reads zeros.
func holes(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	f, err := os.OpenFile(m.Path("f"), os.O_RDWR|os.O_CREATE, 0o644)
	harness.Must(t, err)
	body := harness.Random(9, 3<<20)
	_, err = f.WriteAt(body, 20<<20)
	harness.Must(t, err)
	body = append(make([]byte, 20<<20), body...)
	alloc := func(what string, mode uint32, off, n int64) {
		t.Helper()
		if err := syscall.Fallocate(int(f.Fd()), mode, off, n); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	alloc("punch a hole", unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 21<<20, 100_000)
	clear(body[21<<20:][:100_000])
	alloc("allocate", 0, 0, 24<<20)
	body = append(body, make([]byte, 1<<20)...)
	alloc("allocate behind the end", unix.FALLOC_FL_KEEP_SIZE, 24<<20, 50<<20)
	alloc("zero a range over the end", unix.FALLOC_FL_ZERO_RANGE, 22<<20, 3<<20)
	body = append(body[:22<<20], make([]byte, 3<<20)...)
	harness.WantErrno(t, "collapse", syscall.Fallocate(int(f.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096), syscall.ENOTSUP)
	harness.WantErrno(t, "truncate to 1 TiB", f.Truncate(1<<40), syscall.EFBIG)
	_, err = f.WriteAt([]byte("x"), 1<<40)
	harness.WantErrno(t, "write at 1 TiB", err, syscall.EFBIG)
	got := make([]byte, len(body))
	_, err = f.ReadAt(got, 0)
	harness.Must(t, err)
	harness.Equal(t, "what is read before close", got, body)
	harness.Must(t, f.Close())
	harness.Equal(t, "object", s.Get(t, "f"), body)
}
