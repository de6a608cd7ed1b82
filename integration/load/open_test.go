package load

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// TestManyOpenFiles has many files open at once: first all of them written to
// and not closed, whose content memory cannot hold, then all of them read from.
func TestManyOpenFiles(t *testing.T) {
	n := number(t, "KMSFS_TEST_LOAD_OPEN", 1000)
	allowDescriptors(t, uint64(n)+1000)
	each(t, time.Duration(n)*60*time.Millisecond, func(t *testing.T, srv *harness.Server) {
		m := srv.Mount(t, memoryFlag)
		before := look(t, m)
		o := &open{t: t, files: make([]*os.File, n), dir: m.Path("d")}
		harness.Must(t, os.Mkdir(o.dir, 0o755))
		step := func(what string, f func(i int) error) {
			start := time.Now()
			o.all(f)
			t.Logf("%s: %v, then %v", what, time.Since(start).Round(time.Millisecond), look(t, m))
		}
		step("open for writing", o.create)
		step("write", o.write)
		if held := look(t, m); held.Spool == 0 {
			t.Errorf("%v: content of %d open files that memory cannot hold is not in the spool", held, n)
		}
		step("write on", o.append)
		step("read what was written", o.verify)
		step("close", o.close)
		bounded(t, m)
		step("open for reading", o.open)
		step("read", o.verify)
		step("close", o.close)
		settled(t, m, before)
		bounded(t, m)
		m.Unmount()
		if keys := srv.Keys(t); len(keys) != n+1 {
			t.Errorf("%d objects, want %d files and a directory", len(keys), n)
		}
	})
}

// allowDescriptors raises the limit of this process for the test.
func allowDescriptors(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	harness.Must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if limit.Cur >= n {
		return
	}
	old := limit
	limit.Cur, limit.Max = n, max(limit.Max, n) // above Max root may
	harness.Must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	t.Cleanup(func() { harness.Must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)) })
}

// open is files that are open at once.
type open struct {
	t     *testing.T
	dir   string
	files []*os.File
}

// all does f for all files, some at a time.
func (o *open) all(f func(i int) error) {
	o.t.Helper()
	var g errgroup.Group
	g.SetLimit(32)
	for i := range o.files {
		g.Go(func() error { return f(i) })
	}
	harness.Must(o.t, g.Wait())
}

func (o *open) path(i int) string { return filepath.Join(o.dir, fmt.Sprint("f", i)) }

// content is that of file i: 70 to 83 KiB, so that each takes more than one
// chunk of memory.
func (o *open) content(i int) []byte { return pattern()[i*1000:][:70<<10+i] }

func (o *open) create(i int) (err error) {
	o.files[i], err = os.OpenFile(o.path(i), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	return err
}

func (o *open) open(i int) (err error) {
	o.files[i], err = os.Open(o.path(i))
	return err
}

func (o *open) write(i int) error {
	_, err := o.files[i].Write(o.content(i)[:66<<10])
	return err
}

func (o *open) append(i int) error {
	_, err := o.files[i].Write(o.content(i)[66<<10:])
	return err
}

func (o *open) verify(i int) error {
	got, err := io.ReadAll(io.NewSectionReader(o.files[i], 0, 1<<20))
	if err == nil && !bytes.Equal(got, o.content(i)) {
		err = fmt.Errorf("%s has %d bytes that are not what was written", o.path(i), len(got))
	}
	return err
}

func (o *open) close(i int) error { return o.files[i].Close() }
