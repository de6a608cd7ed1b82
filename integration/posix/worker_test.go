package posix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// workerEnv is the environment variable that makes this program a worker: a
// process that does the steps of programs, so that descriptors, mappings and
// locks belong to it, and so that a mount that hangs never hangs the test. Its
// value says what the worker may do.
const workerEnv = "KMSFS_TEST_WORKER"

// The two workers. Neither keeps suid when it writes, because kmsfs never does;
// the second one is bound by permissions.
const (
	privileged = "privileged"
	ordinary   = "ordinary"
)

// order is what a worker is told.
type order struct {
	Mount, Plain string // roots of a new program; both are "" for its steps
	Op           op
}

// work is a worker's life.
func work(rights string, in io.Reader, out io.Writer) error {
	// Capabilities belong to threads, so all steps are done by this one.
	runtime.LockOSThread()
	if os.Geteuid() == 0 {
		if err := restrict(rights); err != nil {
			return fmt.Errorf("give up capabilities: %w", err)
		}
	}
	unix.Umask(0o022)
	mount, plain := &side{}, &side{}
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if o.Mount != "" {
			_ = errors.Join(mount.closeAll(), plain.closeAll()) // of a program that failed
			mount = &side{root: o.Mount, mount: true, fds: map[int]int{}}
			plain = &side{root: o.Plain, fds: map[int]int{}}
		}
		do := steps[o.Op.Kind]
		a := answer{Plain: do(plain, o.Op)}
		a.Mount = do(mount, o.Op)
		a.compareData()
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

// compareData leaves checksums of the data, and where it differs.
func (a *answer) compareData() {
	m, p := a.Mount.Data, a.Plain.Data
	a.Mount.Sum, a.Plain.Sum = sum(m), sum(p)
	if bytes.Equal(m, p) {
		return
	}
	at := 0
	for at < min(len(m), len(p)) && m[at] == p[at] {
		at++
	}
	a.Where = fmt.Sprintf("%d bytes instead of %d, the first difference at %d: %x instead of %x",
		len(m), len(p), at, m[at:min(at+8, len(m))], p[at:min(at+8, len(p))])
}

// restrict gives up what rights do not include.
func restrict(rights string) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData // 64 bits of each set
	if err := unix.Capget(&header, &caps[0]); err != nil {
		return err
	}
	drop := uint32(1 << unix.CAP_FSETID)
	if rights == ordinary {
		drop |= 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH
	}
	caps[0].Effective &^= drop
	return unix.Capset(&header, &caps[0])
}

// worker is the test's end of a worker.
type worker struct {
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
	log *bytes.Buffer
}

// startWorker starts a worker, which ends with the test.
func startWorker(t testing.TB, rights string) *worker {
	t.Helper()
	w := &worker{cmd: exec.Command(os.Args[0]), log: &bytes.Buffer{}}
	// A signal that the runtime sends itself must not interrupt a step.
	w.cmd.Env = append(os.Environ(), workerEnv+"="+rights, "GODEBUG=asyncpreemptoff=1")
	w.cmd.Stderr = w.log
	in, err := w.cmd.StdinPipe()
	harness.Must(t, err)
	out, err := w.cmd.StdoutPipe()
	harness.Must(t, err)
	harness.Must(t, w.cmd.Start())
	w.in, w.out = json.NewEncoder(in), json.NewDecoder(out)
	t.Cleanup(func() {
		in.Close()
		kill := time.AfterFunc(10*time.Second, func() { _ = w.cmd.Process.Kill() })
		defer kill.Stop()
		if err := w.cmd.Wait(); err != nil {
			t.Errorf("the %s worker: %v\n%s", rights, err, w.log)
		}
	})
	return w
}

// do has the worker do a step. A step that takes too long calls hung, which has
// to free it.
func (w *worker) do(o order, hung func()) (answer, error) {
	late := time.AfterFunc(stepLimit, hung)
	defer late.Stop()
	var a answer
	err := w.in.Encode(o)
	if err == nil {
		err = w.out.Decode(&a)
	}
	if err != nil {
		return a, fmt.Errorf("the worker is gone (%w)", err)
	}
	return a, nil
}
