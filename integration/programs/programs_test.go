package programs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// limit is how long one script may take.
const limit = 90 * time.Second

func TestMain(m *testing.M) { harness.Main(m) }

// A script is a program's story, from testdata.
type script struct {
	name     string
	text     string
	packages string
	differs  []string // patterns of paths that no two runs leave alike
}

// scripts reads testdata.
func scripts(t *testing.T) (all []script) {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.sh")
	harness.Must(t, err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		harness.Must(t, err)
		s := script{name: strings.TrimSuffix(filepath.Base(path), ".sh"), text: string(text)}
		for line := range strings.Lines(s.text) {
			if rest, ok := strings.CutPrefix(line, "# packages: "); ok {
				s.packages = strings.TrimSpace(rest)
			}
			if rest, ok := strings.CutPrefix(line, "# differs: "); ok {
				s.differs = strings.Fields(rest)
			}
		}
		if s.packages == "" {
			t.Fatalf("%s does not name its packages", path)
		}
		all = append(all, s)
	}
	return all
}

// run runs the script in dir and returns what it prints.
func (s script) run(t *testing.T, dir, blobs string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	trace, err := os.Create(filepath.Join(t.TempDir(), "trace"))
	harness.Must(t, err)
	defer trace.Close()
	scratch := t.TempDir()
	// Bash itself goes to dir, under the time limit: the mount may hang.
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-xc", `cd -- "$1"`+"\n"+s.text, s.name, dir)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + scratch, "SCRATCH=" + scratch, "BLOBS=" + blobs, "TMPDIR=" + scratch,
		"LC_ALL=C.UTF-8", "TZ=UTC", "BASH_XTRACEFD=3", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=0",
		"GIT_AUTHOR_NAME=A U Thor", "GIT_AUTHOR_EMAIL=author@example.com", "GIT_AUTHOR_DATE=1700001000 +0000",
		"GIT_COMMITTER_NAME=C O Mitter", "GIT_COMMITTER_EMAIL=committer@example.com", "GIT_COMMITTER_DATE=1700001000 +0000",
	}
	cmd.ExtraFiles = []*os.File{trace}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end what it started, too
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	out = bytes.ReplaceAll(bytes.ReplaceAll(out, []byte(scratch), []byte("SCRATCH")), []byte(dir), []byte("DIR"))
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 127 {
			t.Errorf("a program is missing: install %s with scripts/deps", s.packages)
		}
		did, _ := os.ReadFile(trace.Name())
		t.Fatalf("%s in %s: %v\n%s\nits last commands:\n%s", s.name, dir, err, out, lastLines(string(did), 15))
	}
	return string(out)
}

func lastLines(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n-1):], "")
}

// TestPrograms runs every script in a plain directory and on a mount, and
// compares; the trees once more after a remount.
func TestPrograms(t *testing.T) {
	srv := harness.Sandbox(t).In(t, harness.ChosenMode())
	srv.Plain = true // these programs are many requests one after the other
	all, plain, blobs := scripts(t), t.TempDir(), makeBlobs(t)
	m := srv.Mount(t)
	t.Run("scripts", func(t *testing.T) {
		for _, s := range all {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				want := s.run(t, plain, blobs)
				if got := s.run(t, m.Dir, blobs); got != want {
					t.Errorf("printed on the mount:\n%s\nin a plain directory:\n%s", got, want)
				}
				compare(t, plain, m.Dir, s)
			})
		}
	})
	if t.Failed() {
		return
	}
	m.Unmount()
	m = srv.Mount(t, "--read-only")
	for _, s := range all {
		compare(t, plain, m.Dir, s)
	}
	srv.MustBeEncrypted(t)
}
