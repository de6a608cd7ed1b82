package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/internal/ctl"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// asCommand makes the test's binary act as kmsfs, so that the commands under
// test run in processes of their own, as they do for users.
const asCommand = "KMSFS_TEST_AS_COMMAND"

// TestMain must never run the tests in a process that a command started, or
// each would start the next: whatever became of the environment on the way,
// such a process is called with a command and not with flags of go test.
func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" || os.Getenv(reportVariable) != "" {
		main()
	}
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		panic("the test's binary was called as a command: " + strings.Join(os.Args, " "))
	}
	os.Exit(m.Run())
}

// patience bounds every wait of these tests.
const patience = 60 * time.Second

// world is a sandbox and the commands that a user runs against it.
type world struct {
	t      *testing.T
	server *sandbox.Server
	env    []string
	dir    string // an empty directory to mount on
	log    string // of mounts made by mount
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server, err := sandbox.Start(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, server: server, dir: filepath.Join(base, "mnt"), log: filepath.Join(base, "log")}
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.env = append(withoutSettings(os.Environ()), server.Env()...)
	w.env = append(w.env, asCommand+"=1", "KMSFS_STATE_DIR="+filepath.Join(base, "state"),
		"KMSFS_SSE_KMS_KEY_ID="+sandbox.KeyAlias, "KMSFS_PATH_STYLE=on")
	t.Cleanup(w.sweep)
	return w
}

// sweep takes away what a failed test left mounted. A mount that is left
// behind by a passed one is a failure.
func (w *world) sweep() {
	if m, ok, _ := mountAt(w.dir); ok {
		if !w.t.Failed() {
			w.t.Errorf("%s is still mounted (%s)", w.dir, m.source)
		}
		detach(w.dir)
	}
	if w.t.Failed() {
		if text, err := os.ReadFile(w.log); err == nil {
			w.t.Logf("log of the mount:\n%s", text)
		}
	}
}

// outcome is how a command ended.
type outcome struct {
	code     int
	out, err string
}

// command prepares a command line of kmsfs.
func (w *world) command(args ...string) *exec.Cmd {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = w.env
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// run runs a command line of kmsfs to its end.
func (w *world) run(args ...string) outcome {
	w.t.Helper()
	return w.wait(w.command(args...))
}

func (w *world) wait(cmd *exec.Cmd) outcome {
	w.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("%q: %v", cmd.Args, err)
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must runs a command that has to succeed, and returns what it printed.
func (w *world) must(args ...string) string {
	w.t.Helper()
	got := w.run(args...)
	if got.code != exitOK {
		w.t.Fatalf("kmsfs %q: exit %d: %s%s", args, got.code, got.out, got.err)
	}
	return got.out
}

// mount mounts the sandbox's bucket below p/ on w.dir.
func (w *world) mount(flags ...string) {
	w.t.Helper()
	w.must(append([]string{"mount", "s3://" + sandbox.Bucket + "/p", w.dir, "--log-file=" + w.log}, flags...)...)
}

// write writes a file below the mount.
func (w *world) write(name, content string) error {
	return os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o644)
}

func (w *world) mustWrite(name, content string) {
	w.t.Helper()
	if err := w.write(name, content); err != nil {
		w.t.Fatal(err)
	}
}

// pid returns the process of the mount.
func (w *world) pid() int {
	w.t.Helper()
	e, err := ctl.Call(w.t.Context(), w.dir, ctl.Request{Op: ctl.OpStatus}, nil)
	if err != nil || e.Status == nil {
		w.t.Fatalf("status of %s: %+v, %v", w.dir, e, err)
	}
	return e.Status.PID
}

// want checks how a command ended; text is a regular expression for what it
// said on standard error.
func (w *world) want(got outcome, code int, text string) {
	w.t.Helper()
	if got.code != code {
		w.t.Errorf("exit %d, want %d; it said: %s", got.code, code, got.err)
	}
	if !regexp.MustCompile(text).MatchString(got.err) {
		w.t.Errorf("it said %q, which does not match %q", got.err, text)
	}
}

// wantMounted checks whether anything is mounted on w.dir.
func (w *world) wantMounted(want bool) {
	w.t.Helper()
	m, ok, err := mountAt(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	if ok != want {
		w.t.Errorf("mounted: %v (%+v), want %v", ok, m, want)
	}
}

// eventually waits until ok, looking often.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	limit := time.After(patience)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-limit:
			w.t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestGoldenHelp(t *testing.T) {
	w := newWorld(t)
	for _, command := range []string{"", "mount", "umount", "doctor", "demo", "sandbox", "inspect", "decrypt", "rekey", "stats", "ctl", "version"} {
		args := strings.Fields(command + " --help")
		got := w.must(args...)
		golden := filepath.Join("testdata", "help"+strings.ReplaceAll(" "+command, " ", "-")+".txt")
		if os.Getenv("KMSFS_TEST_UPDATE") != "" {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("help of %q differs from %s; set KMSFS_TEST_UPDATE=1 if it should:\n%s", command, golden, got)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		args string
		text string
	}{
		{"mout", `^kmsfs: unknown command "mout"; kmsfs --help lists all\n$`},
		{"mount --salvage=x", `^kmsfs: unknown flag: --salvage; kmsfs mount --help lists all flags\n$`},
		{"mount s3://demo", `a bucket and a directory are needed; write kmsfs mount s3://BUCKET/PREFIX DIR\n$`},
		{"mount a b c", `takes a bucket and a directory, but was given 3 arguments`},
		{"umount", `takes the directory of a mount, but was given 0 arguments`},
		{"version now", `takes no arguments`},
		{"inspect s3://demo", `names no object; write s3://BUCKET/KEY`},
		{"demo --size none", `--size: "none" is not a size`},
		{"demo --tree /absent", `name a directory with --tree`},
	} {
		w.want(w.run(strings.Fields(test.args)...), exitUsage, test.text)
	}
}

func TestVersionAndCompletion(t *testing.T) {
	w := newWorld(t)
	if got := w.must("version"); !regexp.MustCompile(`^kmsfs \S+ \w+/\w+ go\S+\n$`).MatchString(got) {
		t.Errorf("version says %q", got)
	}
	if got := w.must("completion", "bash"); !strings.Contains(got, "__start_kmsfs") {
		t.Errorf("completion says %.200q", got)
	}
	for args, want := range map[string]string{
		"ctl /mnt ": "flush-keys\ndrain\nlog-level\n", "ctl /mnt log-level ": "debug\ninfo\nwarn\nerror\n",
		"mount s3://b /mnt --context-scope ": "bucket\nobject\n", "mount --bucket-key=": "on\noff\ninherit\n",
	} {
		if got := w.must(append([]string{"__complete"}, strings.Split(args, " ")...)...); !strings.HasPrefix(got, want) {
			t.Errorf("%q is completed by %q", args, got)
		}
	}
}
