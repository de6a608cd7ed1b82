package crash

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// patience bounds every wait for something that must not hang.
const patience = 30 * time.Second

// A Target is a server whose requests can be stopped.
type Target struct {
	*harness.Server
	Faults *wire.Faults // of S3
	Log    *wire.Log
	KMS    *wire.Faults // of what seals the content; nil in mode SSE
}

// Sandbox returns a sandbox in the mode as a Target.
func Sandbox(t testing.TB, mode harness.Mode) Target {
	t.Helper()
	return target(harness.Sandbox(t).In(t, mode))
}

func target(s *harness.Server) Target {
	s.Plain = true // races are others' affair, and this mounts hundreds of times
	x := Target{Server: s, Faults: s.Sandbox.Faults, Log: s.Sandbox.Log}
	if s.Mode != harness.SSE {
		x.KMS = s.KMS().Faults
	}
	return x
}

// Behind returns any server as a Target.
func Behind(t testing.TB, s *harness.Server) Target {
	t.Helper()
	s.Plain = true
	through, proxy := s.Behind(t)
	x := Target{Server: through, Faults: &proxy.Faults, Log: &proxy.Log}
	if s.Mode != harness.SSE {
		x.KMS = s.KMS().Faults
	}
	return x
}

// A moment is when a mount dies.
type moment struct {
	service string         // "" is after the last step
	kind    wire.FaultKind // Hang: before a request is applied; HangAfter: after it was
	skip    int            // requests that pass
	op      string         // the request, as far as it can be known
	only    string         // the operation that requests are counted of; "" is all
}

func (m moment) String() string {
	switch {
	case m.service == "":
		return "at the end"
	case m.kind == wire.Hang:
		return fmt.Sprintf("before request %d (%s)", m.skip, m.op)
	}
	return fmt.Sprintf("after request %d (%s)", m.skip, m.op)
}

// stop has a request hang.
func (x Target) stop(when moment) *wire.Rule {
	faults := x.Faults
	if when.service == "kms" {
		faults = x.KMS
	}
	return faults.Add(wire.Fault{Service: when.service, Op: when.only, Skip: when.skip, Times: 1, Kind: when.kind})
}

// dropUnlessStruck keeps the rule from striking the next mount. One that struck
// stays: what hangs by it must never be served.
func dropUnlessStruck(r *wire.Rule) {
	select {
	case <-r.Struck():
	default:
		r.Remove()
	}
}

// Run plays the scenario on the server, once for every request at which its
// mount can die.
func (sc Scenario) Run(t *testing.T, x Target) {
	c := newCampaign(t, x, sc)
	c.crash(moment{})
	var ops []string
	for _, r := range x.Log.Requests() {
		if r.Service == "s3" {
			ops = append(ops, r.Op)
		}
	}
	for i, op := range ops {
		// To die before a read is to die after what came before it.
		if i == 0 || changes(op) {
			c.crash(moment{service: "s3", kind: wire.Hang, skip: i, op: op})
		}
		if changes(op) {
			c.crash(moment{service: "s3", kind: wire.HangAfter, skip: i, op: op})
		}
	}
	for i := 0; x.KMS != nil && c.crash(moment{service: "kms", kind: wire.Hang, skip: i, op: "of KMS"}); i++ {
	}
	c.end()
}

func (w *try) String() string {
	return fmt.Sprintf("%s, %v, %d steps acknowledged", w.sc.Name, w.when, w.acked)
}

// changes says whether a request does something that could be half done.
func changes(op string) bool {
	return !strings.HasPrefix(op, "Get") && !strings.HasPrefix(op, "Head") && !strings.HasPrefix(op, "List")
}

// A campaign is a scenario on one server.
type campaign struct {
	t      *testing.T
	x      Target
	sc     Scenario
	tries  []*try
	theirs map[string]string // uploads of others, by id: keys
	hosts  map[string]string // likewise, of another mount that goes on
	seen   int               // tries whose crash a mount has recovered from
	state  string            // state directory of the mounts
}

func newCampaign(t *testing.T, x Target, sc Scenario) *campaign {
	return &campaign{t: t, x: x, sc: sc, theirs: map[string]string{}}
}

// A try is a program whose mount died.
type try struct {
	sc    Scenario
	name  string // of its directory
	when  moment
	there tree // before its first step
	steps []step
	acked int               // steps that returned 0
	left  map[string]string // ETags of what the next mount made of it, by key
}

// crash recovers from the crash before, plays the scenario in a new directory,
// and ends the mount at that moment. It returns whether the moment came.
func (c *campaign) crash(when moment) bool {
	c.t.Helper()
	m := c.mount()
	w := c.prepare(c.sc, when)
	c.x.Log.Reset()
	var struck <-chan struct{} // never
	if when.service != "" {
		rule := c.x.stop(when)
		defer dropUnlessStruck(rule)
		struck = rule.Struck()
	}
	p := c.start(w, m)
	came := false
	select {
	case <-struck:
		came = true
	case <-p.done:
		if p.err != nil {
			c.t.Errorf("%v: the program fails without a reason: %v\n%s", when, p.err, p.heard.String())
		}
	case <-time.After(patience):
		c.t.Errorf("%v: the program hangs\n%s", when, m.Log())
	}
	c.kill(m, when)
	p.end(c.t, w)
	c.bury(m.Dir, when)
	return came
}

// kill ends the mount's process, which must leave a mount that says so.
func (c *campaign) kill(m *harness.Mount, when moment) {
	c.t.Helper()
	m.Signal(syscall.SIGKILL)
	_ = m.Wait() // it was killed
	if _, err := os.Stat(m.Path("any")); !errors.Is(err, syscall.ENOTCONN) {
		c.t.Errorf("%v: a dead mount answers %v", when, err)
	}
}

// bury has the dead mount taken away.
func (c *campaign) bury(dir string, when moment) {
	c.t.Helper()
	cmd := exec.Command(harness.PlainBinary(c.t), "umount", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Errorf("%v: umount of a dead mount: %v\n%s", when, err, out)
	}
	if _, there := harness.Mounts()[dir]; there {
		c.t.Fatalf("%v: a dead mount is not taken away", when)
	}
}

func (c *campaign) flags() []string { return append([]string{"--attr-ttl", "0s"}, c.sc.flags...) }

// mount recovers from the last crash, and notes what that made of it.
func (c *campaign) mount() *harness.Mount {
	c.t.Helper()
	m := c.x.Mount(c.t, c.flags()...)
	c.state = m.State
	for _, w := range c.tries[c.seen:] {
		w.left = c.objects(w.name + "/")
		c.checkUploads(w)
		if hidden := c.objects(".kmsfs/"); len(hidden) > 0 {
			c.t.Errorf("%v: left behind: %v", w.when, hidden)
		}
	}
	c.seen = len(c.tries)
	return m
}

// end mounts twice more, and looks at what all the crashes left.
func (c *campaign) end() {
	c.t.Helper()
	m := c.mount()
	for _, w := range c.tries {
		got, err := readTree(m.Path(w.name))
		if errors.Is(err, os.ErrNotExist) && len(got) == 0 {
			err = nil // a directory that is implied by nothing
		}
		if err != nil {
			c.t.Errorf("%v: %v", w, err)
		}
		before, after, whole := promised(w.there, w.steps, w.acked)
		for _, fault := range faults(got, before, after, whole) {
			c.t.Errorf("%v: %s", w, fault)
		}
	}
	m.Unmount()
	c.mount().Unmount()
	for _, w := range c.tries {
		now := c.objects(w.name + "/")
		for key, etag := range w.left {
			if now[key] != etag {
				c.t.Errorf("%v: a later mount changed %s again", w.when, key)
			}
		}
		if len(now) != len(w.left) {
			c.t.Errorf("%v: %d objects, and before another mount %d", w.when, len(now), len(w.left))
		}
	}
	c.dropTheirs()
	c.x.MustBeEncrypted(c.t)
}

// prepare makes what is there before: objects, and an upload of somebody else
// under every key that the program is going to use.
func (c *campaign) prepare(sc Scenario, when moment) *try {
	c.t.Helper()
	w := &try{sc: sc, name: fmt.Sprintf("%03d", len(c.tries)), when: when, there: tree{}, steps: sc.steps(&work{})}
	c.tries = append(c.tries, w)
	if len(sc.there) == 0 {
		c.x.Put(c.t, w.name+"/", nil)
	}
	for name, content := range sc.there {
		c.x.Put(c.t, w.name+"/"+name, content())
		if dir, ok := strings.CutSuffix(name, "/"); ok {
			w.there[dir] = directory()
		} else {
			w.there[name] = regular(content)
		}
	}
	for _, name := range []string{"f", "g"} {
		key := w.name + "/" + name
		c.theirs[c.begin(key)] = key
	}
	return w
}
