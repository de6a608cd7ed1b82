package crash

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// halfDone leaves as much as one crash can: a copy for an open file that lost its
// name, an upload with parts, and a directory that is half moved.
func halfDone() Scenario {
	a, big, content := bytesOf(20, small), bytesOf(21, 1<<20), bytesOf(22, parts)
	d := tree{"d": directory(), "n": directory()}
	for _, name := range []string{"/a", "/b", "/c", "/e"} {
		d["d"+name] = regular(a)
	}
	moved := tree{}
	for name, e := range d {
		if name != "n" {
			moved["n"+name[1:]] = e
		}
	}
	d = d.without("n")
	return Scenario{
		Name: "half done", flags: inParts(),
		there: map[string]body{"f": big, "d/": nothing, "d/a": a, "d/b": a, "d/c": a, "d/e": a},
		steps: func(w *work) []step {
			var unlinked *os.File
			return []step{
				{do: w.open("f", os.O_RDONLY)}, {do: w.remove("f"), after: d},
				{do: func() error { unlinked = w.file; return w.open("g", os.O_WRONLY|os.O_CREATE)() }}, {do: w.write(content)},
				{do: w.rename("d", "n"), after: moved, whole: true},
				{do: func() error { return unlinked.Close() }},
			}
		},
	}
}

// Recover has mounts die while they recover from a crash, at each of their requests.
func Recover(t *testing.T, x Target) {
	c := newCampaign(t, x, halfDone())
	when := moment{service: "s3", kind: wire.Hang, only: "DeleteObject", skip: 3, op: "DeleteObject"}
	if !c.crash(when) {
		t.Fatal("the directory is not moved by deleting")
	}
	for i := 0; ; i++ {
		when.only, when.op, when.skip = "", "of a mount that recovers", i
		when.kind = wire.Hang
		before := c.crashMount(when)
		when.kind = wire.HangAfter
		if after := c.crashMount(when); !before && !after {
			break
		}
	}
	c.end()
}

// crashMount ends a mount at a moment before it can be used, and returns whether
// that came.
func (c *campaign) crashMount(when moment) bool {
	c.t.Helper()
	rule, dir := c.x.stop(when), c.t.TempDir()
	defer dropUnlessStruck(rule)
	args := append([]string{"mount", c.x.Target(), dir, "--foreground", "--state-dir", c.state}, c.x.Flags()...)
	cmd := exec.Command(harness.PlainBinary(c.t), append(args, c.flags()...)...)
	cmd.Env = append(os.Environ(), c.x.Env()...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	harness.Must(c.t, cmd.Start())
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	came, mounted := false, false
	for !came && !mounted {
		select {
		case <-rule.Struck():
			came = true
		case <-tick.C:
			_, mounted = harness.Mounts()[dir]
		case <-limit:
			c.t.Errorf("%v: the mount hangs", when)
			c.t.Logf("log of the mount:\n%s", log.String())
			came = true
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	if _, mounted = harness.Mounts()[dir]; mounted {
		c.bury(dir, when)
	}
	return came
}
