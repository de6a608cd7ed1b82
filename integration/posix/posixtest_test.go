package posix

import (
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/posixtest"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// stepLimit is how long one test may take before its mount counts as hung. The
// longest sends some 6,000 requests.
const stepLimit = 100 * time.Second

// modes are the ones in which a mount's content takes different ways.
var modes = []harness.Mode{harness.SSE, harness.Envelope}

// chosen are the modes of tests that take long: those that KMSFS_TEST_MODE
// names, else one on several processors and the other on one. CI does both.
func chosen() (all []harness.Mode) {
	for _, mode := range strings.Fields(os.Getenv("KMSFS_TEST_MODE")) {
		all = append(all, harness.Mode(mode))
	}
	switch {
	case all != nil:
		return all
	case runtime.GOMAXPROCS(0) == 1:
		return []harness.Mode{harness.Envelope}
	}
	return []harness.Mode{harness.SSE}
}

// long is the one test that takes long.
const long = "OpenSymlinkRace"

// inexpressible are the tests of what S3 cannot express, each with its reason.
var inexpressible = map[string]string{
	"Link":             "an object has one name: link(2) is EPERM",
	"LinkUnlinkRename": "an object has one name: link(2) is EPERM",
	"XAttrLarge":       "wants 8 KiB in one attribute, and S3 keeps 2 KiB of metadata: setxattr(2) is ENOSPC",
}

// mistaken are the tests that no file system of Linux passes, each with its
// reason. That they fail on a plain directory too is tested. go-fuse leaves
// them out as well.
var mistaken = map[string]string{
	"FcntlFlockLocksFile": "wants two descriptors of one process to lock each other out, but record locks belong to processes",
}

// TestPosix runs go-fuse's conformance tests, each in a directory of its own.
func TestPosix(t *testing.T) {
	t.Parallel()
	for _, table := range []map[string]string{inexpressible, mistaken} {
		for name, reason := range table {
			if posixtest.All[name] == nil {
				t.Errorf("%s is left out (%s), but there is no such test", name, reason)
			}
		}
	}
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := harness.Sandbox(t).In(t, mode)
			s.Plain = true // the race detector makes long four times as long
			m := s.Mount(t)
			for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
				leftOut := inexpressible[name] != "" || mistaken[name] != ""
				if !leftOut && (name != long || slices.Contains(chosen(), mode)) {
					t.Run(name, func(t *testing.T) { conform(t, m, name) })
				}
			}
			readsAreQuiet(t, m)
			m.Unmount()
		})
	}
}

// readsAreQuiet has go-fuse answer the largest requests there are, and looks
// whether it, or a test before, had something to complain about.
func readsAreQuiet(t *testing.T, m *harness.Mount) {
	content := harness.Random(1, 9<<20)
	harness.Write(t, m.Path("large"), content)
	harness.Want(t, m.Path("large"), content)
	if strings.Contains(m.Log(), "msg=go-fuse") {
		t.Errorf("go-fuse complains:\n%s", m.Log())
	}
}

// conform runs one test. A skip is a failure: the tables above are the only
// places where something is left out.
func conform(t *testing.T, m *harness.Mount, name string) {
	hung := time.AfterFunc(stepLimit, m.Abort)
	defer func() {
		if !hung.Stop() {
			t.Errorf("not done within %v: the mount was aborted", stepLimit)
		}
		if t.Skipped() {
			t.Error("it skips itself: the mount lacks what it tests")
		}
	}()
	dir := m.Path(name)
	harness.Must(t, os.Mkdir(dir, 0o755))
	posixtest.All[name](t, dir)
}

// TestMistakenFailElsewhere runs the tests that are left out as mistaken on a
// plain directory, each in a process of its own, where they must fail.
func TestMistakenFailElsewhere(t *testing.T) {
	for name := range mistaken {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), elsewhere+"="+name, "TMPDIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "--- FAIL: "+name) {
			t.Errorf("%s passes on a plain directory: it is not mistaken (%v)\n%s", name, err, out)
		}
	}
}

// elsewhere is the environment variable that has this program run one of
// go-fuse's tests on a plain directory.
const elsewhere = "KMSFS_TEST_ELSEWHERE"

func runElsewhere(name string) {
	testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{
		{Name: name, F: func(t *testing.T) { posixtest.All[name](t, t.TempDir()) }},
	}, nil, nil)
}
