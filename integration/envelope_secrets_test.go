package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// watched is a mount, and everywhere that its plaintext must not be.
type watched struct {
	t      *testing.T
	s      *harness.Server
	m      *harness.Mount
	search *wire.Search
	spool  string
}

// nothingReadableLeaves: no 16 bytes of what is written, also as an extended
// attribute, are in what reaches the servers, in objects and their metadata, in
// the spool and state directories, in the log, or behind any descriptor of the
// mount, while it is being written and afterwards.
func nothingReadableLeaves(t *testing.T) {
	s := harness.Sandbox(t).In(t, harness.Envelope)
	content, value := harness.Random(1, 5<<20), harness.Random(2, 64)
	search, err := wire.NewSearch(content, value)
	harness.Must(t, err)
	defer s.Sandbox.Taps.Add(search.Tap)()
	spool := t.TempDir()
	w := watched{t, s, s.Mount(t, "--memory", "32MiB", "--part-size", "5MiB", "--spool-dir", spool, "--log-level", "debug"), search, spool}
	w.writeMore(content)
	w.writeKinds(content, value)
	w.look(false)
	w.m.Unmount()
	w.look(false)
	w.objects()
	if found := search.Found(); len(found) != 0 {
		t.Errorf("plaintext left the mount:\n%s", strings.Join(found, "\n"))
	}
	if search.Seen() < 60<<20 {
		t.Errorf("only %d bytes were looked through", search.Seen())
	}
	s.PutRaw(t, "control", content[1000:1020])
	if len(search.Found()) != 1 {
		t.Error("what is readable was not found: this test proves nothing")
	}
}

// writeMore writes more at once than memory takes, and looks while it lies in
// the spool.
func (w watched) writeMore(content []byte) {
	hang := w.s.Sandbox.Faults.Add(wire.Fault{Op: "PutObject", Kind: wire.Hang})
	var g errgroup.Group
	for i := range 7 {
		g.Go(func() error { return os.WriteFile(w.m.Path(fmt.Sprint("spooled-", i)), content, 0o644) })
	}
	awaitOp(w.t, w.s, "PutObject", 1)
	w.look(true)
	hang.Release()
	harness.Must(w.t, g.Wait())
	hang.Remove()
}

// writeKinds writes in every other way: in one request, in parts, behind what
// is there, over it, with attributes.
func (w watched) writeKinds(content, value []byte) {
	small, large := w.m.Path("small"), w.m.Path("large")
	harness.Write(w.t, small, content[:3000])
	harness.Must(w.t, syscall.Setxattr(small, "user.secret", value, 0))
	harness.Must(w.t, os.Rename(small, w.m.Path("renamed")))
	harness.Must(w.t, os.Mkdir(w.m.Path("dir"), 0o755))
	harness.Must(w.t, syscall.Setxattr(w.m.Path("dir"), "user.secret", value, 0))
	target := content[:100]
	for at := 1; bytes.IndexByte(target, 0) >= 0; at++ {
		target = content[at:][:100]
	}
	harness.Must(w.t, os.Symlink(string(target), w.m.Path("link")))
	harness.Must(w.t, os.Rename(w.m.Path("link"), w.m.Path("moved")))
	f, err := os.Create(large)
	harness.Must(w.t, err)
	harness.Must(w.t, syscall.Setxattr(large, "user.secret", value, 0))
	for range 3 {
		_, err = f.Write(content)
		harness.Must(w.t, err)
		harness.Must(w.t, f.Sync())
	}
	w.look(false)
	harness.Must(w.t, f.Close())
	f, err = os.OpenFile(large, os.O_WRONLY|os.O_APPEND, 0)
	harness.Must(w.t, err)
	_, err = f.Write(content[:70_000])
	harness.Must(w.t, errors.Join(err, f.Close()))
	harness.Must(w.t, os.Truncate(large, 11<<20))
	harness.Want(w.t, large, slices.Concat(content, content, content)[:11<<20])
	unlinked, err := os.Open(w.m.Path("spooled-0"))
	harness.Must(w.t, err)
	harness.Must(w.t, os.Remove(w.m.Path("spooled-0")))
	w.look(false)
	harness.Must(w.t, unlinked.Close())
}

// look looks through everything of the mount on this machine. spooling says
// that something must be in the spool.
func (w watched) look(spooling bool) {
	w.t.Helper()
	fds := fmt.Sprintf("/proc/%d/fd", w.m.PID())
	entries, err := os.ReadDir(fds)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // the process has ended
		w.t.Fatal(err)
	}
	spooled := int64(0)
	for _, e := range entries {
		path := filepath.Join(fds, e.Name())
		target, _ := os.Readlink(path)
		n := w.file(path, target)
		if strings.HasPrefix(target, w.spool) {
			spooled += n
		}
	}
	if spooling && spooled == 0 {
		w.t.Error("nothing is in the spool")
	}
	for _, dir := range []string{w.spool, w.m.State} {
		harness.Must(w.t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err == nil {
				w.file(path, path)
			}
			return err
		}))
	}
	_, _ = w.search.Writer("log").Write([]byte(w.m.Log()))
}

// file looks through one file, if it is a regular one, and returns its size.
func (w watched) file(path, name string) int64 {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	f, err := os.Open(path)
	if err != nil {
		return 0 // closed meanwhile
	}
	defer f.Close()
	_, err = io.Copy(w.search.Writer(name), f)
	harness.Must(w.t, err)
	return info.Size()
}

// objects looks through what is stored beside the content, which the tap saw.
func (w watched) objects() {
	for _, key := range w.s.Keys(w.t) {
		for name, value := range w.s.Head(w.t, key).Metadata {
			_, _ = w.search.Writer("metadata " + name + " of " + key).Write([]byte(value))
		}
	}
	w.s.MustBeEncrypted(w.t)
}
