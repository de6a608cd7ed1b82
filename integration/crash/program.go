package crash

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// The variables that make a process of this binary play a scenario: its name,
// and the directory.
const (
	playVariable  = "KMSFS_TEST_CRASH_PLAY"
	stageVariable = "KMSFS_TEST_CRASH_STAGE"
)

// Play plays a scenario and ends the process, if it was started for that. Call
// it first in TestMain. A process of its own it is because the tests' starts
// others, each of which would close the files of the scenario, and so commit
// them half written.
func Play() {
	name, ok := os.LookupEnv(playVariable)
	if !ok {
		return
	}
	sc, err := find(name)
	if err == nil {
		w := &work{dir: os.Getenv(stageVariable)}
		err = w.run(sc.steps(w), func() error {
			_, err := os.Stdout.WriteString(".")
			return err
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func find(name string) (Scenario, error) {
	for _, sc := range append(Scenarios(), halfDone(), heldOpen()) {
		if sc.Name == name {
			return sc, nil
		}
	}
	var seed uint64
	if _, err := fmt.Sscanf(name, randomName, &seed); err == nil {
		return random(seed), nil
	}
	return Scenario{}, fmt.Errorf("there is no scenario %q", name)
}

// A program is a process that plays a scenario.
type program struct {
	cmd          *exec.Cmd
	input        io.Closer    // what it waits for the end of, if it does
	acked, heard bytes.Buffer // what it says; to be read after done
	done         chan struct{}
	err          error // after done
}

// start has the scenario played in the directory of w.
func (c *campaign) start(w *try, m *harness.Mount) *program {
	c.t.Helper()
	self, err := os.Executable()
	harness.Must(c.t, err)
	p := &program{cmd: exec.Command(self), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), playVariable+"="+w.sc.Name, stageVariable+"="+m.Path(w.name))
	p.cmd.Stdout, p.cmd.Stderr = &p.acked, &p.heard
	p.input, err = p.cmd.StdinPipe()
	harness.Must(c.t, err)
	harness.Must(c.t, p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p
}

// end waits for the program, which must not hang although its mount is dead,
// and notes how far it came.
func (p *program) end(t *testing.T, w *try) {
	t.Helper()
	select {
	case <-p.done:
		w.acked = p.acked.Len()
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		t.Fatalf("%v: the program hangs although its mount is dead", w.when)
	}
}
