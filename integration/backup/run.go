package backup

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// Modes are those to run in: those that KMSFS_TEST_MODE names, else usual.
func Modes(usual harness.Mode) (all []harness.Mode) {
	for _, mode := range strings.Fields(os.Getenv(harness.ModeVariable)) {
		all = append(all, harness.Mode(mode))
	}
	if all == nil {
		all = []harness.Mode{usual}
	}
	return all
}

// Size is that of DATA in MiB.
func Size(t testing.TB) int {
	t.Helper()
	value := os.Getenv("KMSFS_TEST_BACKUP_MIB")
	if value == "" {
		return 8
	}
	n, err := strconv.Atoi(value)
	harness.Must(t, err)
	return n
}

// Run runs the cases of those names, or all of them, on servers that start
// makes, in that mode. KMSFS_TEST_BACKUP_CASES names others.
func Run(t *testing.T, mode harness.Mode, start func(testing.TB) *harness.Server, names ...string) {
	if chosen := strings.Fields(os.Getenv("KMSFS_TEST_BACKUP_CASES")); len(chosen) > 0 {
		names = chosen
	}
	all, size := Cases(t, names...), Size(t)
	data := makeData(t, size)
	if !Certifying() && size <= 64 { // else together they want more room than there may be
		run(t, start(t).In(t, mode), data, size, all)
		return
	}
	for _, c := range all {
		t.Run(c.Name, func(t *testing.T) {
			// Before the server is started: what is found when it ends counts, too.
			r := record(t, c, mode, size)
			srv := start(t).In(t, mode)
			r.Server = srv.Name
			run(t, srv, data, size, []Case{c})
		})
	}
}

// run runs the cases at once on one mount.
func run(t *testing.T, srv *harness.Server, data string, size int, all []Case) {
	dir := openDir(t)
	srv.Plain = true // these programs are many requests one after the other
	srv.Life = 2*limit(size) + harness.Limit
	scratch := map[string]string{}
	for _, c := range all {
		scratch[c.Name] = openDir(t)
	}
	for _, step := range []string{"store", "check"} {
		m := srv.MountAt(t, dir, "--allow-other")
		t.Run(step, func(t *testing.T) {
			var scripts errgroup.Group // not t.Parallel: they wait more than they compute, on one processor, too
			scripts.SetLimit(6)
			for _, c := range all {
				scripts.Go(func() error {
					t.Run(c.Name, func(t *testing.T) {
						at := m.Path(c.Name)
						if step == "store" {
							harness.Must(t, os.Mkdir(at, 0o755))
						}
						c.call(t, step, size, "MOUNT="+at, "DATA="+data, "SCRATCH="+scratch[c.Name], "HOME="+scratch[c.Name],
							"TMPDIR="+scratch[c.Name], "KMSFS="+harness.PlainBinary(t), "SIZE_MIB="+strconv.Itoa(size))
					})
					return nil
				})
			}
			_ = scripts.Wait()
		})
		if t.Failed() {
			return
		}
		m.Unmount()
	}
	srv.MustBeEncrypted(t)
}

// openDir returns a directory that other users can walk to: database servers
// are somebody of their own.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "b-") // short, because sockets are made below
	harness.Must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	harness.Must(t, os.Chmod(dir, 0o755))
	harness.Must(t, os.Chmod(filepath.Dir(dir), 0o711))
	return dir
}

// limit is how long store or check may take.
func limit(size int) time.Duration { return 2*time.Minute + time.Duration(size)*time.Second }

// call runs store or check in a shell of its own. Nothing that it started may
// outlive it.
func (c Case) call(t *testing.T, step string, size int, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit(size))
	defer cancel()
	trace, err := os.Create(filepath.Join(t.TempDir(), "trace"))
	harness.Must(t, err)
	defer trace.Close()
	// In a function whose call is tested, bash ignores "set -e": it is called by itself.
	// Under nohup, bash could not trap SIGHUP.
	cmd := exec.CommandContext(ctx, "env", "--default-signal", "bash", "-euo", "pipefail", "-c", `PS4='+ ${SECONDS}s '; source "$1"; source "$2"; cd "$SCRATCH"; set -x; "$3"`,
		c.Name, filepath.Join(filepath.Dir(c.path), "common.bash"), c.path, step)
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC", "BASH_XTRACEFD=3")
	cmd.ExtraFiles = []*os.File{trace}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end what it started, too
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	did, _ := os.ReadFile(trace.Name())
	t.Logf("%s took %v; its commands, with seconds:\n%s", step, time.Since(begin).Round(time.Millisecond), lastLines(did, 200)) // shown if the test fails
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 127 {
			t.Errorf("a program is missing: install %s with scripts/deps", c.Packages)
		}
		t.Errorf("%s of %s: %v\n%s", step, c.Name, err, lastLines(out, 100))
	}
	if left := group(cmd.Process.Pid); left != nil {
		t.Errorf("%s leaves processes behind: %q", step, left)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
}

// group returns the names of a process group's processes, but those that are
// dead and wait for their parent.
func group(id int) (names []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range all {
		stat, _ := os.ReadFile(path) // "12 (name) S 1 12 ..."
		head, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 2 && fields[0] != "Z" && fields[2] == strconv.Itoa(id) {
			names = append(names, head)
		}
	}
	return names
}

func lastLines(text []byte, n int) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n-1):], nil)
}
