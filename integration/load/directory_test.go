package load

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// page is how many entries one request lists, and may be asked for ahead.
const page = 1000

// TestLargeDirectory lists, searches and changes a directory of many files.
func TestLargeDirectory(t *testing.T) {
	n := number(t, "KMSFS_TEST_LOAD_FILES", 2500)
	each(t, time.Duration(n)*60*time.Millisecond, func(t *testing.T, srv *harness.Server) {
		d := &directory{t: t, srv: srv, content: []byte("one of many")}
		for i := range n {
			d.names = append(d.names, fmt.Sprintf("file-%06d", i))
		}
		first := srv.Mount(t) // what a mount writes has what others need
		harness.Must(t, os.Mkdir(first.Path("d"), 0o755))
		harness.Write(t, first.Path("d", d.names[0]), d.content)
		first.Unmount()
		var others []string
		for _, name := range d.names[1:] {
			others = append(others, "d/"+name)
		}
		harness.Must(t, srv.Sandbox.S3.Multiply(srv.Bucket, "d/"+d.names[0], others))
		d.m = srv.Mount(t, memoryFlag, "--attr-ttl=100ms")
		before := look(t, d.m)
		d.step("ls -f", d.list)
		d.step("ls -f again", d.list)
		d.step("lookups of absent names", d.absent)
		d.step("ls -l of a sample", d.sample)
		d.step("rm of some", d.remove)
		d.step("ls -f", d.list)
		d.step("find", d.find)
		d.step("find again", d.find)
		d.step("rm -r", d.removeAll)
		settled(t, d.m, before)
		bounded(t, d.m)
		d.m.Unmount()
	})
}

// directory is one with many files.
type directory struct {
	t       *testing.T
	srv     *harness.Server
	m       *harness.Mount
	names   []string // sorted
	content []byte
}

// step times f, and counts its requests.
func (d *directory) step(what string, f func()) {
	d.srv.Sandbox.Log.Reset()
	start := time.Now()
	f()
	d.t.Logf("%s: %v, %v, then %v", what, time.Since(start).Round(time.Millisecond), d.srv.Sandbox.Log.Counts(), look(d.t, d.m))
}

func (d *directory) path() string { return d.m.Path("d") }

// complete compares names, sorted or not, with those that there are.
func (d *directory) complete(what string, got []string) {
	d.t.Helper()
	slices.Sort(got)
	if !slices.Equal(got, d.names) {
		d.t.Errorf("%s: %d names, %d of them different; want %d", what, len(got), len(slices.Compact(slices.Clone(got))), len(d.names))
	}
}

// list is ls -f: no attributes are asked for, so that there are requests for
// pages and not for files, but for those of the first page.
func (d *directory) list() {
	out, err := exec.Command("ls", "-f", d.path()).Output()
	harness.Must(d.t, err)
	names := strings.Fields(string(out))
	d.complete("ls -f", slices.DeleteFunc(names, func(name string) bool { return name == "." || name == ".." }))
	log := d.srv.Sandbox.Log
	if lists := log.Count("ListObjectsV2"); lists > len(d.names)/page+4 {
		d.t.Errorf("%d listings for %d names", lists, len(d.names))
	}
	if heads := log.Count("HeadObject"); heads > 2*page {
		d.t.Errorf("%d HEADs for a listing that shows no attributes", heads)
	}
}

// absent looks for names that are not there, between those that are.
func (d *directory) absent() {
	const looks = 300
	for i := range looks {
		name := d.names[i*(len(d.names)/looks)] + "x"
		if _, err := os.Lstat(filepath.Join(d.path(), name)); !errors.Is(err, os.ErrNotExist) {
			d.t.Fatalf("stat of %s: %v", name, err)
		}
	}
}

// sample is ls -l of every hundredth file, and reads a few.
func (d *directory) sample() {
	args := []string{"-l"}
	for i := 0; i < len(d.names); i += 100 {
		args = append(args, d.names[i])
	}
	cmd := exec.Command("ls", args...)
	cmd.Dir = d.path()
	out, err := cmd.Output()
	harness.Must(d.t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(args)-1 {
		d.t.Fatalf("ls -l: %d lines of %d", len(lines), len(args)-1)
	}
	for i, line := range lines {
		if !strings.Contains(line, fmt.Sprintf(" %d ", len(d.content))) || !strings.HasSuffix(line, args[i+1]) {
			d.t.Errorf("ls -l: %q of %s", line, args[i+1])
		}
		if i%10 == 0 {
			harness.Want(d.t, filepath.Join(d.path(), args[i+1]), d.content)
		}
	}
}

// find looks at the type of each file, for which it has to be asked.
func (d *directory) find() {
	out, err := exec.Command("find", d.path(), "-type", "f", "-printf", "%f\n").Output()
	harness.Must(d.t, err)
	d.complete("find", strings.Fields(string(out)))
}

// remove removes a run of names and some of the rest.
func (d *directory) remove() {
	var kept []string
	cmd := exec.Command("xargs", "-0", "rm")
	cmd.Dir = d.path()
	var gone bytes.Buffer
	for i, name := range d.names {
		if i < 50 || i%100 == 7 {
			gone.WriteString(name + "\x00")
		} else {
			kept = append(kept, name)
		}
	}
	cmd.Stdin = &gone
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Errorf("rm: %v\n%s", err, out)
	}
	d.names = kept
}

// removeAll removes the directory.
func (d *directory) removeAll() {
	if out, err := exec.Command("rm", "-r", d.path()).CombinedOutput(); err != nil {
		d.t.Errorf("rm -r: %v\n%s", err, out)
	}
	if left := d.srv.Keys(d.t); len(left) != 0 {
		d.t.Errorf("%d objects remain", len(left))
	}
}
