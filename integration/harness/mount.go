package harness

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Limit is how long one mount may live before it counts as hung, unless its
// Server says other.
const Limit = 2 * time.Minute

// Mount is a running `kmsfs mount --foreground`.
type Mount struct {
	Dir   string
	State string // its --state-dir, kept over remounts of one Server

	t    testing.TB
	srv  *Server
	cmd  *exec.Cmd
	log  *lockedBuffer
	done chan struct{} // closed when the process is gone
	err  error         // its exit, after done
	dead bool          // ended by Kill: its exit status says nothing
	dev  uint64        // its device number
}

// lockedBuffer is a bytes.Buffer that a child may write while a test reads.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Run runs another command of kmsfs as a client of the server, and returns what
// it says.
func (s *Server) Run(t testing.TB, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), Binary(t), args...)
	cmd.Env = append(os.Environ(), s.Env()...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// binary is what mounts the server, and unmounts it.
func (s *Server) binary(t testing.TB) string {
	t.Helper()
	if s.Plain {
		return PlainBinary(t)
	}
	return Binary(t)
}

// Mount mounts the server's bucket with the server's connection flags and
// flags, and unmounts it at the end of the test.
func (s *Server) Mount(t testing.TB, flags ...string) *Mount {
	t.Helper()
	return s.MountAt(t, t.TempDir(), flags...)
}

// MountAt is Mount on a directory of the caller's.
func (s *Server) MountAt(t testing.TB, dir string, flags ...string) *Mount {
	t.Helper()
	m := &Mount{Dir: dir, State: s.stateDir(t), t: t, srv: s, log: &lockedBuffer{}, done: make(chan struct{})}
	args := append([]string{"mount", s.Target(), dir, "--foreground", "--state-dir", m.State}, s.Flags()...)
	m.cmd = exec.Command(s.binary(t), append(args, flags...)...)
	m.cmd.Env = append(os.Environ(), s.Env()...)
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	if err := m.cmd.Start(); err != nil {
		t.Fatalf("start kmsfs mount: %v", err)
	}
	go func() {
		m.err = m.cmd.Wait()
		close(m.done)
	}()
	t.Cleanup(m.cleanup)
	m.awaitMounted()
	if s.Sandbox != nil {
		s.Sandbox.Log.Reset() // tests count what they do, not the probe
	}
	if s.proxy != nil {
		s.proxy.Log.Reset()
	}
	m.dev = device(t, dir)
	watchdog := time.AfterFunc(cmp.Or(s.Life, Limit), m.Abort)
	t.Cleanup(func() { watchdog.Stop() })
	return m
}

// awaitMounted waits until the kernel shows the mount.
func (m *Mount) awaitMounted() {
	m.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !mounted(m.Dir) {
		select {
		case <-m.done:
			m.t.Fatalf("kmsfs mount ended before it mounted: %v\n%s", m.err, m.log)
		case <-deadline:
			m.t.Fatalf("kmsfs mount did not mount within a minute\n%s", m.log)
		case <-tick.C:
		}
	}
}

// Path joins names below the mount point.
func (m *Mount) Path(names ...string) string {
	return filepath.Join(append([]string{m.Dir}, names...)...)
}

// Log returns what the mount has logged so far.
func (m *Mount) Log() string { return m.log.String() }

// Unmount runs `kmsfs umount` and waits for the mount's process, which must
// end well.
func (m *Mount) Unmount() {
	m.t.Helper()
	if out, err := m.TryUnmount(); err != nil {
		m.t.Fatalf("kmsfs umount: %v\n%s\nlog of the mount:\n%s", err, out, m.log)
	}
	m.Wait()
	if m.err != nil {
		m.t.Fatalf("kmsfs mount ended with %v\n%s", m.err, m.log)
	}
}

// TryUnmount runs `kmsfs umount DIR flags` and returns what it says.
func (m *Mount) TryUnmount(flags ...string) (string, error) {
	cmd := exec.Command(m.srv.binary(m.t), append([]string{"umount", m.Dir}, flags...)...)
	cmd.Env = append(os.Environ(), m.srv.Env()...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Signal sends sig to the mount's process.
func (m *Mount) Signal(sig syscall.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(sig); err != nil {
		m.t.Fatalf("signal %v: %v", sig, err)
	}
}

// Wait waits until the mount's process is gone and returns its exit error.
func (m *Mount) Wait() error {
	m.t.Helper()
	select {
	case <-m.done:
		return m.err
	case <-time.After(time.Minute):
		m.Signal(syscall.SIGQUIT) // to see where it hangs
		<-m.done
		m.t.Fatalf("the mount's process does not end\n%s", m.log)
		return nil
	}
}

// Kill ends the mount as a crash would: SIGKILL, then a lazy unmount.
func (m *Mount) Kill() {
	m.t.Helper()
	m.dead = true
	_ = m.cmd.Process.Kill()
	<-m.done
	_ = exec.Command("fusermount3", "-uz", m.Dir).Run()
}

// Abort frees every process that hangs in the mount, and kills it.
func (m *Mount) Abort() {
	select {
	case <-m.done:
		return // its device number may be that of another mount by now
	default:
	}
	_ = abortConnection(m.dev)
	_ = m.cmd.Process.Kill()
}

// PeakRSS returns the largest resident set of the mount's process in bytes.
func (m *Mount) PeakRSS() int64 {
	m.t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(m.cmd.Process.Pid) + "/status")
	if err != nil {
		m.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				m.t.Fatal(err)
			}
			return kib << 10
		}
	}
	m.t.Fatal("no VmHWM in /proc/PID/status")
	return 0
}

// PID returns the process id of the mount.
func (m *Mount) PID() int { return m.cmd.Process.Pid }

// cleanup ends what the test left mounted and reports data races of the child.
func (m *Mount) cleanup() {
	select {
	case <-m.done:
	default:
		if out, err := m.TryUnmount("--force"); err != nil {
			m.t.Errorf("unmount at the end of the test: %v\n%s", err, out)
			m.Kill()
		}
		select {
		case <-m.done:
		case <-time.After(time.Minute):
			m.t.Error("the mount's process outlives its mount")
			m.Kill()
		}
	}
	if mounted(m.Dir) {
		_ = exec.Command("fusermount3", "-uz", m.Dir).Run()
	}
	var exit *exec.ExitError
	if errors.As(m.err, &exit) && exit.ExitCode() == 66 || strings.Contains(m.Log(), "DATA RACE") {
		m.t.Errorf("the mount has a data race:\n%s", m.log)
	}
	if m.t.Failed() {
		m.t.Logf("log of the mount:\n%s", m.log)
	}
}
