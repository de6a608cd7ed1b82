package integration

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
)

const (
	small     = 4 << 10
	manyNames = 1000
)

// large is the size of large files: 64 MiB unless KMSFS_TEST_LARGE_MIB says
// other, as 1024. What is copied is copied in pieces of 128 MiB and more.
var large = func() int {
	if n, err := strconv.Atoi(os.Getenv("KMSFS_TEST_LARGE_MIB")); err == nil {
		return n << 20
	}
	return 64 << 20
}()

// copies says how many requests copy size bytes.
func copies(size int) int { return max(1, size>>27) }

// aTime is what files are touched with.
var aTime = time.Unix(1_600_000_000, 0)

// An action is what a user does to files of a directory, and the requests that
// this may cost.
type action struct {
	name   string
	exists func(p place) // what an earlier mount left there
	known  func(p place) // what this mount did there before
	do     func(p place) // what is counted; nil: the action before, once more
	want   string
	sealed string // in envelope mode, where that differs
	upload int64  // bytes of content that it may send
}

// actions is the price list of a mount, while attributes are younger than
// --attr-ttl: a directory that was looked at is known, one whose names were
// read is listed. A listing has 1,000 objects, among them the directory's own.
var actions = []action{
	{name: "stat", exists: newFile(small), known: place.look, do: statOf("f"), want: "1 HEAD, 1 LIST"},
	{name: "stat again", want: ""},
	{name: "stat in a listed directory", exists: newFile(small), known: place.list, do: statOf("f"), want: ""},
	{name: "stat of nothing", exists: newFile(small), known: place.look, do: place.statNothing, want: "1 HEAD, 1 LIST"},
	{name: "stat of nothing in a listed directory", exists: newFile(small), known: place.list, do: place.statNothing, want: ""},
	{name: "read 4 KiB", exists: newFile(small), known: place.look, do: readOf("f"), want: "1 HEAD, 1 LIST, 1 GET", sealed: "1 HEAD, 1 LIST, 1 GET, 1 Decrypt"},
	{name: "read 4 KiB again", want: ""},
	{name: "read 4 KiB in a listed directory", exists: newFile(small), known: place.list, do: readOf("f"), want: "1 GET"},
	{name: "ls -l of 1,000 files", exists: place.files, known: place.look, do: place.listLong, want: "1000 HEAD, 2 LIST"},
	{name: "ls -l of 1,000 files again", want: "2 LIST"},

	{name: "create 4 KiB", known: place.look, do: newFile(small), want: "1 HEAD, 1 LIST, 1 PUT", upload: small},
	{name: "create 4 KiB in a listed directory", known: place.list, do: newFile(small), want: "1 PUT", upload: small},
	{name: "create 20 MiB", known: place.list, do: newFile(20 << 20), want: "1 Create, 3 Part, 1 Complete", upload: 20 << 20},
	{name: "replace 4 KiB", exists: newFile(small), known: statOf("f"), do: newFile(small), want: "1 PUT", upload: small},
	{name: "append 1 byte to 4 KiB", exists: newFile(small), known: statOf("f"), do: place.add, want: "1 GET, 1 PUT", upload: small + 1},
	{name: "append 1 byte to a large file", exists: newFile(large), known: statOf("f"), do: place.add, upload: 6 << 20,
		want:   fmt.Sprintf("1 Create, 1 Part, %d PartCopy, 1 Complete, 1 GetObjectTagging", copies(large)),
		sealed: fmt.Sprintf("1 GET, 1 Create, 1 Part, %d PartCopy, 1 Complete, 1 GetObjectTagging", copies(large))},
	{name: "change 4 KiB in a large file", exists: newFile(large), known: statOf("f"), do: place.change, upload: 6 << 20,
		want:   fmt.Sprintf("1 GET, 1 Create, 1 Part, %d PartCopy, 1 Complete, 1 GetObjectTagging", copies(large/2)+copies(large/2-small)),
		sealed: fmt.Sprintf("2 GET, 1 Create, 1 Part, %d PartCopy, 1 Complete, 1 GetObjectTagging", copies(large/2)+copies(large/2-small))},
	{name: "truncate to nothing", exists: newFile(small), known: statOf("f"), do: place.cut, want: "1 PUT"},
	{name: "rsync a file of 4 KiB", known: place.list, do: place.rsync, want: "1 PUT, 1 COPY, 1 DELETE", upload: small},

	{name: "touch and fsync", exists: newFile(small), known: statOf("f"), do: place.touch, want: "1 COPY"},
	{name: "rename", exists: newFile(small), known: place.list, do: place.rename, want: "1 COPY, 1 DELETE"},
	{name: "unlink", exists: newFile(small), known: statOf("f"), do: place.unlink, want: "1 DELETE"},
	{name: "mkdir", known: place.list, do: place.makeDir, want: "1 PUT"},
	{name: "rmdir", exists: place.makeDir, known: statOf("d"), do: place.removeDir, want: "1 LIST, 1 DELETE"},
}

// TestRequests compares what each action sends with its price, so that nothing
// becomes dearer unnoticed. A lower number is welcome: write it down here.
func TestRequests(t *testing.T) {
	s := sandboxed(t)
	s.Plain = true // what is counted does not depend on it
	m := s.Mount(t)
	for i, a := range actions {
		p := placeOf(t, m, i)
		harness.Must(t, os.Mkdir(p.dir, 0o755))
		if a.exists != nil {
			a.exists(p)
		}
	}
	m.Unmount()
	m = s.Mount(t, "--attr-ttl", "10m")
	for i, a := range actions {
		t.Run(a.name, func(t *testing.T) {
			p := placeOf(t, m, i)
			if a.do == nil {
				p, a.do = placeOf(t, m, i-1), actions[i-1].do
			} else if a.known != nil {
				a.known(p)
			}
			s.Sandbox.Log.Reset()
			a.do(p)
			a.check(t, s)
		})
	}
	s.Sandbox.Log.Reset()
	m.Unmount()
	action{}.check(t, s) // for nothing is left to be saved
}

// A place is the directory of one action.
type place struct {
	t   *testing.T
	dir string
}

func placeOf(t *testing.T, m *harness.Mount, i int) place {
	return place{t, m.Path(fmt.Sprintf("%02d", i))}
}

func (p place) path(name string) string { return filepath.Join(p.dir, name) }

// check compares the sandbox's log with the action's price.
func (a action) check(t *testing.T, s *harness.Server) {
	t.Helper()
	want := a.want
	if s.Mode != harness.SSE && a.sealed != "" {
		want = a.sealed
	}
	got, sent := costs(t, s)
	if got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
	if most := a.upload + a.upload/100 + small; sent > most {
		t.Errorf("%d bytes sent, at most %d wanted", sent, most)
	}
}

// brief names operations as the table does, in the order of the table.
var brief = []struct{ op, name string }{
	{"HeadObject", "HEAD"}, {"ListObjectsV2", "LIST"}, {"GetObject", "GET"}, {"PutObject", "PUT"}, {"CopyObject", "COPY"},
	{"CreateMultipartUpload", "Create"}, {"UploadPart", "Part"}, {"UploadPartCopy", "PartCopy"},
	{"CompleteMultipartUpload", "Complete"}, {"DeleteObject", "DELETE"},
}

// costs says which requests the mount has sent to S3 and KMS, and how many
// bytes of content in them.
func costs(t *testing.T, s *harness.Server) (counts string, sent int64) {
	t.Helper()
	seen := map[string]int{}
	for _, r := range s.Sandbox.Log.Requests() {
		if r.Internal {
			continue
		}
		seen[r.Op]++
		if r.Op == "PutObject" || r.Op == "UploadPart" {
			length := r.Header.Get("X-Amz-Decoded-Content-Length")
			if length == "" {
				length = r.Header.Get("Content-Length")
			}
			n, err := strconv.ParseInt(length, 10, 64)
			harness.Must(t, err)
			sent += n
		}
	}
	var all []string
	for _, b := range brief {
		if n := seen[b.op]; n > 0 {
			all = append(all, fmt.Sprint(n, " ", b.name))
		}
		delete(seen, b.op)
	}
	for _, op := range slices.Sorted(maps.Keys(seen)) {
		all = append(all, fmt.Sprint(seen[op], " ", op))
	}
	return strings.Join(all, ", "), sent
}

func newFile(size int) func(place) {
	return func(p place) {
		f, err := os.Create(p.path("f"))
		harness.Must(p.t, err)
		_, err = io.Copy(f, io.LimitReader(repeated{}, int64(size)))
		harness.Must(p.t, err)
		harness.Must(p.t, f.Close())
	}
}

// repeated is a reader of content that costs nothing to make.
type repeated struct{}

func (repeated) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func (p place) files() {
	var g errgroup.Group
	g.SetLimit(16)
	for i := range manyNames {
		g.Go(func() error { return os.WriteFile(p.path(fmt.Sprint(i)), []byte("content"), 0o644) })
	}
	harness.Must(p.t, g.Wait())
}

func (p place) look() { statOf(".")(p) }

func (p place) list() {
	_, err := os.ReadDir(p.dir)
	harness.Must(p.t, err)
}

func (p place) listLong() {
	out, err := exec.Command("ls", "-l", p.dir).CombinedOutput()
	if n := bytes.Count(out, []byte("\n")); err != nil || n != manyNames+1 {
		p.t.Errorf("ls -l: %d lines, %v", n, err)
	}
}

func statOf(name string) func(place) {
	return func(p place) {
		_, err := os.Stat(p.path(name))
		harness.Must(p.t, err)
	}
}

func (p place) statNothing() {
	if _, err := os.Stat(p.path("nothing")); !os.IsNotExist(err) {
		p.t.Errorf("stat of nothing: %v", err)
	}
}

func readOf(name string) func(place) {
	return func(p place) {
		_, err := os.ReadFile(p.path(name))
		harness.Must(p.t, err)
	}
}

// write opens the file, and writes b as do says.
func (p place) write(flags int, do func(f *os.File) (int, error)) {
	f, err := os.OpenFile(p.path("f"), os.O_WRONLY|flags, 0)
	harness.Must(p.t, err)
	_, err = do(f)
	harness.Must(p.t, err)
	harness.Must(p.t, f.Close())
}

func (p place) add() {
	p.write(os.O_APPEND, func(f *os.File) (int, error) { return f.Write([]byte("y")) })
}

func (p place) change() {
	p.write(0, func(f *os.File) (int, error) { return f.WriteAt(harness.Random(1, small), int64(large/2+1000)) })
}

func (p place) cut() { harness.Must(p.t, os.Truncate(p.path("f"), 0)) }

func (p place) rsync() {
	from := filepath.Join(p.t.TempDir(), "f")
	harness.Write(p.t, from, harness.Random(1, small))
	harness.Must(p.t, os.Chtimes(from, aTime, aTime))
	if out, err := exec.Command("rsync", "-a", from, p.dir+"/").CombinedOutput(); err != nil {
		p.t.Errorf("rsync: %v\n%s", err, out)
	}
}

func (p place) touch() {
	harness.Must(p.t, os.Chtimes(p.path("f"), aTime, aTime))
	d, err := os.Open(p.dir)
	harness.Must(p.t, err)
	harness.Must(p.t, d.Sync())
	harness.Must(p.t, d.Close())
}

func (p place) rename() {
	harness.Must(p.t, os.Rename(p.path("f"), p.path("g")))
}

func (p place) unlink()    { harness.Must(p.t, os.Remove(p.path("f"))) }
func (p place) makeDir()   { harness.Must(p.t, os.Mkdir(p.path("d"), 0o755)) }
func (p place) removeDir() { harness.Must(p.t, os.Remove(p.path("d"))) }
