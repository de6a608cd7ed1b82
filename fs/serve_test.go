//go:build linux

package fs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/s3io"
)

// A test that is its own FUSE server can hang in ways that survive SIGKILL. So
// a child process, the test binary itself, serves each mount, and the test
// talks to it by lines of text.

// serveEnv names the variable that makes the test binary a server.
const serveEnv = "KMSFS_TEST_SERVE"

// served configures such a child.
type served struct {
	Dir string
	S3  s3io.Options
	FS  Options
}

func TestMain(m *testing.M) {
	if config := os.Getenv(serveEnv); config != "" {
		if err := serve(config); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	if task := os.Getenv(taskEnv); task != "" {
		if err := doTask(task, os.Getenv(pathEnv)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// taskEnv and pathEnv name the variables that make the test binary do one thing
// to a file of a mount, so that it can be killed in the middle, or so that the
// sandbox is not in the same process.
const (
	taskEnv = "KMSFS_TEST_TASK"
	pathEnv = "KMSFS_TEST_PATH"
)

func doTask(task, path string) error {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGUSR1) // interrupts, does not kill
	switch task {
	case "map":
		return writeMapping(path)
	case "read":
		content, err := os.ReadFile(path)
		fmt.Printf("%s", content)
		return err
	case "rename":
		return os.Rename(path, path+".renamed")
	case "write":
		return os.WriteFile(path, []byte("written by a task"), 0644)
	}
	return errors.New("no such task")
}

// writeMapping writes to a file through a mapping that outlives the
// descriptor. While munmap waits for the write, nothing in this process can
// get memory, so the sandbox must be in another.
func writeMapping(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	p, err := syscall.Mmap(int(f.Fd()), 0, 8192, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	copy(p[4000:], "through the mapping")
	return syscall.Munmap(p) // written back after close
}

func serve(config string) error {
	var c served
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	c.S3.Log, c.FS.Log = log, log
	b, err := s3io.Open(ctx, c.S3)
	if err != nil {
		return err
	}
	f, err := New(b, c.FS)
	if err != nil {
		return err
	}
	if err := f.Mount(c.Dir); err != nil {
		return err
	}
	defer syscall.Unmount(c.Dir, syscall.MNT_DETACH) // when the test died; a mount that is gone is EINVAL
	fmt.Println("ok")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer, err := "", error(nil)
		switch lines.Text() {
		case "drain":
			err = f.Drain(ctx)
		case "pending":
			answer = strings.Join(f.Pending(), " | ")
		case "nodes":
			f.tree.RLock()
			answer = strconv.Itoa(len(f.inos))
			f.tree.RUnlock()
		case "failures":
			answer = strings.Join(f.Failures(), " | ")
		case "unmount":
			err = f.Unmount()
		case "quit":
			err = errors.Join(f.Drain(ctx), f.Unmount(), b.Close(ctx))
		}
		if err != nil {
			answer = "error " + err.Error()
		}
		fmt.Println("ok", strings.ReplaceAll(answer, "\n", "; "))
	}
	return nil
}

// mount is a mount that a child serves.
type mount struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
	in  *bufio.Writer
	out *bufio.Scanner
}

// world is a sandbox and what mounts of it have in common.
type world struct {
	t     *testing.T
	box   *sandbox.Server
	state string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	box, err := sandbox.Start(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	return &world{t: t, box: box, state: t.TempDir()}
}

func (w *world) s3() s3io.Options {
	return s3io.Options{
		Bucket: sandbox.Bucket, Prefix: "p/", Region: sandbox.Region, Endpoint: w.box.URL(), KMSEndpoint: w.box.KMSURL(),
		PathStyle: true, Policy: s3io.Policy{KeyID: sandbox.KeyAlias}, StateDir: w.state,
	}
}

// defaults are those of the command.
func defaults() Options {
	return Options{PosixAttrs: true, AttrTTL: time.Second, FSName: "s3://demo/p"}
}

// mount mounts with the defaults, as edit changes them.
func (w *world) mount(edit func(*served)) *mount {
	w.t.Helper()
	m, err := w.tryMount(w.t.TempDir(), edit)
	if err != nil {
		w.t.Fatal(err)
	}
	w.box.Log.Reset() // tests count their own requests, not those of the probe
	return m
}

func (w *world) tryMount(dir string, edit func(*served)) (*mount, error) {
	t := w.t
	c := served{Dir: dir, S3: w.s3(), FS: defaults()}
	if edit != nil {
		edit(&c)
	}
	config, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	m := &mount{t: t, dir: c.Dir, cmd: exec.Command(self)}
	m.cmd.Env = append(append(os.Environ(), w.box.Env()...), serveEnv+"="+string(config), "TMPDIR="+t.TempDir())
	m.cmd.Stderr = os.Stderr
	stdin, err := m.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.in, m.out = bufio.NewWriter(stdin), bufio.NewScanner(stdout)
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	abort := time.AfterFunc(2*time.Minute, m.abort)
	t.Cleanup(func() {
		m.close()
		abort.Stop()
	})
	if answer := m.line(); answer != "ok" {
		_ = m.cmd.Wait()
		m.cmd = nil
		return nil, errors.New(strings.TrimPrefix(answer, "error "))
	}
	return m, nil
}

func (m *mount) line() string {
	if !m.out.Scan() {
		return "error the server is gone"
	}
	return m.out.Text()
}

// ask sends a command and returns its answer.
func (m *mount) ask(command string) string {
	m.t.Helper()
	fmt.Fprintln(m.in, command)
	if err := m.in.Flush(); err != nil {
		return "error " + err.Error()
	}
	return strings.TrimSpace(strings.TrimPrefix(m.line(), "ok"))
}

// close drains, unmounts and ends the child; what is left behind is an error.
func (m *mount) close() {
	if m.cmd == nil {
		return
	}
	answer := m.ask("quit")
	if strings.HasPrefix(answer, "error") && !m.t.Failed() {
		m.t.Errorf("quit: %s", answer)
	}
	if m.mounted() {
		m.t.Errorf("%s is still mounted", m.dir)
		m.abort()
		_ = syscall.Unmount(m.dir, syscall.MNT_DETACH)
	}
	_ = m.cmd.Process.Kill() // it has nothing to do any more, or hangs
	_ = m.cmd.Wait()
	m.cmd = nil
}

func (m *mount) mounted() bool {
	table, err := os.ReadFile("/proc/self/mounts")
	return err != nil || strings.Contains(string(table), " "+m.dir+" ")
}

// abort frees whatever hangs on the mount, by fusectl.
func (m *mount) abort() {
	m.t.Errorf("%s is stuck and aborted", m.dir)
	table, _ := os.ReadFile("/proc/self/mountinfo")
	for _, line := range strings.Split(string(table), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 4 && fields[4] == m.dir {
			_, minor, _ := strings.Cut(fields[2], ":")
			_ = os.WriteFile("/sys/fs/fuse/connections/"+minor+"/abort", []byte("1"), 0)
		}
	}
	if m.cmd != nil {
		_ = m.cmd.Process.Kill()
	}
}

// path returns the path of a name on the mount.
func (m *mount) path(name string) string { return filepath.Join(m.dir, name) }

// write writes a file by open, write and close.
func (m *mount) write(name, content string) {
	m.t.Helper()
	if err := os.WriteFile(m.path(name), []byte(content), 0644); err != nil {
		m.t.Fatal(err)
	}
}

// wants compares a file's content.
func (m *mount) wants(name, content string) {
	m.t.Helper()
	got, err := os.ReadFile(m.path(name))
	if err != nil {
		m.t.Fatal(err)
	}
	if string(got) != content {
		m.t.Fatalf("%s has %d bytes %.40q, want %d %.40q", name, len(got), got, len(content), content)
	}
}

// task starts another process that does something to a file.
func (m *mount) task(what, name string) (*exec.Cmd, *bytes.Buffer) {
	m.t.Helper()
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	out := new(bytes.Buffer)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), taskEnv+"="+what, pathEnv+"="+m.path(name))
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	return cmd, out
}

// writeMapping writes to a file through a mapping of another process.
func (m *mount) writeMapping(name string) {
	m.t.Helper()
	cmd, out := m.task("map", name)
	if err := cmd.Wait(); err != nil {
		m.t.Fatalf("%v: %s", err, out)
	}
}

// fails asserts an errno.
func (m *mount) fails(err error, want syscall.Errno) {
	m.t.Helper()
	if !errors.Is(err, want) {
		m.t.Fatalf("the error is %v, want %v", err, want)
	}
}

// other is another host's way to the same bucket.
func (w *world) other() *s3io.Bucket {
	w.t.Helper()
	for _, v := range w.box.Env() {
		name, value, _ := strings.Cut(v, "=")
		w.t.Setenv(name, value)
	}
	o := w.s3()
	o.StateDir, o.Require = w.t.TempDir(), s3io.RequireOff // it looks at what mounts of all kinds stored
	b, err := s3io.Open(context.Background(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := b.Probe(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
	})
	return b
}

// put writes an object as another host.
func (w *world) put(b *s3io.Bucket, key, content string) s3io.Object {
	w.t.Helper()
	o, err := b.Put(context.Background(), key, strings.NewReader(content), int64(len(content)), s3io.Attrs{Meta: map[string]string{}}, s3io.Condition{})
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}
