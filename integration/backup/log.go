package backup

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// logVariable names the file that a certification is logged to.
const logVariable = "KMSFS_TEST_BACKUP_LOG"

// Certifying says whether this is a certification.
func Certifying() bool { return os.Getenv(logVariable) != "" }

// Record is one line of the log: one case on one server in one mode.
type Record struct {
	Commit  string       `json:"commit"` // "+" at its end: files were changed since
	Date    time.Time    `json:"date"`
	Kernel  string       `json:"kernel"`
	Server  string       `json:"server"`
	Mode    harness.Mode `json:"mode"`
	Case    string       `json:"case"`
	Version string       `json:"version"` // of the program, in its words
	MiB     int          `json:"mib"`     // of data that was backed up
	Seconds float64      `json:"seconds"` // with the start of the server and both mounts
	Outcome string       `json:"outcome"` // Passed or Failed
}

// The outcomes.
const (
	Passed = "passed"
	Failed = "failed"
)

// record adds a line to the log, if there is one, when the test has ended and cleaned up. What the
// result names until then is in it.
func record(t *testing.T, c Case, mode harness.Mode, size int) *Record {
	t.Helper()
	r := &Record{
		Commit: commit(t), Date: time.Now().UTC().Truncate(time.Second), Kernel: kernel(t), Mode: mode,
		Case: c.Name, Version: c.version(t), MiB: size, Outcome: Passed,
	}
	t.Cleanup(func() {
		r.Seconds = time.Since(r.Date).Round(100 * time.Millisecond).Seconds()
		if t.Failed() {
			r.Outcome = Failed
		}
		if !Certifying() {
			return
		}
		line, err := json.Marshal(r)
		harness.Must(t, err)
		f, err := os.OpenFile(os.Getenv(logVariable), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		harness.Must(t, err)
		defer f.Close()
		_, err = f.Write(append(line, '\n')) // whole lines: two processes may add at once
		harness.Must(t, err)
	})
	return r
}

// version asks the program.
func (c Case) version(t testing.TB) string {
	t.Helper()
	cmd := exec.Command("bash", "-c", c.Version)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil || first == "" {
		t.Fatalf("%s: %v; install %s with scripts/deps\n%s", c.Version, err, c.Packages, out)
	}
	return first
}

func commit(t testing.TB) string {
	t.Helper()
	git := func(args ...string) string {
		out, err := exec.CommandContext(context.Background(), "git", append([]string{"-C", harness.Root()}, args...)...).Output()
		harness.Must(t, err)
		return strings.TrimSpace(string(out))
	}
	hash := git("rev-parse", "--short=12", "HEAD")
	if git("status", "--porcelain", "--untracked-files=no", "--", "*.go", "*.sh", "go.mod") != "" {
		hash += "+"
	}
	return hash
}

func kernel(t testing.TB) string {
	t.Helper()
	var name unix.Utsname
	harness.Must(t, unix.Uname(&name))
	return "Linux " + unix.ByteSliceToString(name.Release[:]) + " " + unix.ByteSliceToString(name.Machine[:])
}
