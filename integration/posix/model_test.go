package posix

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// modelTime is the environment variable that says how long random programs are
// run in each mode.
const modelTime = "KMSFS_TEST_MODEL_TIME"

// TestModel runs random programs on a mount and on a plain directory, by two
// processes, and compares what these see after every step, and the whole trees
// at the end and after remounts. A program that fails is made as short as
// possible; rapid prints the flags that run it again.
func TestModel(t *testing.T) {
	budget := 30 * time.Second
	if s := os.Getenv(modelTime); s != "" {
		var err error
		if budget, err = time.ParseDuration(s); err != nil {
			t.Fatalf("%s: %v; want a duration such as 10m", modelTime, err)
		}
	}
	harness.Must(t, errors.Join(
		flag.Set("rapid.checks", "50000"), // the time decides
		flag.Set("rapid.steps", "80"),     // a remount takes longer than many steps
	))
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, mode)
			end := time.Now().Add(budget)
			rapid.Check(t, func(rt *rapid.T) {
				if m.failed || time.Now().Before(end) {
					m.check(rt)
				}
			})
			t.Logf("%d programs of %d steps in all, %d remounts; succeeded: %v", m.programs, m.steps, m.remounts, m.done)
			m.mount.Unmount()
			if left := m.srv.Keys(t); len(left) != 0 {
				t.Errorf("objects left behind: %q", left)
			}
		})
	}
}

// model is a mount and a plain directory, and who works in them.
type model struct {
	t       *testing.T
	srv     *harness.Server
	mount   *harness.Mount
	mounted time.Time
	dir     string // where the mount is
	plain   string
	workers [2]*worker
	names   []kind

	failed                    bool // a program failed: rapid shortens it, however long that takes
	broken                    bool // the mount does not work, or may not
	programs, steps, remounts int
	done                      map[string]int // steps that succeeded, by kind
}

func newModel(t *testing.T, mode harness.Mode) *model {
	m := &model{t: t, srv: harness.Sandbox(t).In(t, mode), dir: t.TempDir(), plain: t.TempDir(), names: kinds(), done: map[string]int{}}
	m.workers = [2]*worker{startWorker(t, privileged), startWorker(t, ordinary)}
	m.mountAnew()
	return m
}

func (m *model) mountAnew() {
	m.mount = m.srv.MountAt(quiet{m.t}, m.dir)
	m.mounted = time.Now()
}

// quiet is a test whose mounts do not show their logs in the end: a failing
// program shows that of its own.
type quiet struct{ testing.TB }

func (quiet) Failed() bool { return false }

// fresh sees to it that the mount works and has some time to live.
func (m *model) fresh() {
	if m.broken {
		m.mount.Kill()
		m.mountAnew()
	} else if time.Since(m.mounted) > harness.Limit/4 {
		m.mount.Unmount()
		m.mountAnew()
	}
}

// check runs one program in a new directory.
func (m *model) check(t *rapid.T) {
	m.fresh()
	m.programs++
	m.broken = true
	name := fmt.Sprint(m.programs)
	p := &program{model: m, t: t, mount: filepath.Join(m.dir, name), plain: filepath.Join(m.plain, name)}
	p.side.root = p.plain
	for _, dir := range []string{p.mount, p.plain} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.begin()
	t.Repeat(map[string]func(*rapid.T){"step": func(t *rapid.T) {
		d := draw{t: t, p: p, who: uniform(len(m.workers)).Draw(t, "worker")}
		if k := uniform(len(m.names)+1).Draw(t, "kind"); k < len(m.names) {
			p.step(d.who, m.names[k].name, m.names[k].draw(d))
		} else {
			p.remount()
		}
	}})
	p.closeAll()
	p.do(0, op{Kind: "tree"})
	if rapid.Bool().Draw(t, "remount at the end") {
		p.remount()
	}
	if err := errors.Join(os.RemoveAll(p.mount), os.RemoveAll(p.plain)); err != nil {
		t.Fatal(err)
	}
	m.broken = false
}

// program is one run of steps.
type program struct {
	*model
	t            *rapid.T
	mount, plain string // its directories
	side         side   // the plain one, to see what is there
	open         [2][slots]bool
	told         []string
}

// begin tells the workers where the program works, and makes two directories.
func (p *program) begin() {
	for who := range p.workers {
		p.order(who, order{Mount: p.mount, Plain: p.plain, Op: op{Kind: "close all"}})
	}
	p.do(0, op{Kind: "mkdir", Path: "d", Mode: 0o755})
	p.do(1, op{Kind: "mkdir", Path: "e", Mode: 0o755})
}

func (p *program) closeAll() {
	for who := range p.workers {
		p.do(who, op{Kind: "close all"})
	}
	p.open = [2][slots]bool{}
}

// do has a worker do a step, whose outcomes must be equal.
func (p *program) do(who int, o op) answer { return p.order(who, order{Op: o}) }

func (p *program) order(who int, o order) answer {
	p.steps++
	p.told = append(p.told, fmt.Sprintf("worker %d: %v", who, o.Op))
	a, err := p.workers[who].do(o, p.model.mount.Abort)
	if err != nil {
		p.fatal(err.Error())
	}
	if d := a.difference(); d != "" {
		p.broken = strings.Contains(d, "ENOTCONN") // the mount works else
		p.fatal(d)
	}
	p.told[len(p.told)-1] += " = " + orOK(a.Plain.Err)
	return a
}

// fatal ends the program. The message says nothing that differs between two
// runs, because rapid shortens a program as long as it fails with one message.
func (p *program) fatal(why string) {
	p.t.Helper()
	p.failed = true
	p.t.Logf("log of the mount:\n%s", p.model.mount.Log())
	p.t.Fatalf("%s\nthe program:\n\t%s", why, strings.Join(p.told, "\n\t"))
}

// step does a step and has the other worker look at what it was done to.
func (p *program) step(who int, kind string, o op) {
	ok := p.do(who, o).Plain.Err == ""
	if ok {
		p.done[kind]++
	}
	if o.Kind == "open" || o.Kind == "close" && ok {
		p.open[who][o.Slot] = o.Kind == "open" && ok
	}
	for _, path := range []string{o.Path, o.To} {
		if path != "" && o.Kind != "symlink" {
			p.do(1-who, op{Kind: "lstat", Path: path})
		}
	}
}

// remount unmounts, mounts again and compares the trees.
func (p *program) remount() {
	p.remounts++
	p.told = append(p.told, "remount")
	p.closeAll()
	if out, err := p.model.mount.TryUnmount(); err != nil {
		p.fatal(fmt.Sprintf("unmount: %v\n%s", err, out))
	}
	if err := p.model.mount.Wait(); err != nil {
		p.fatal(fmt.Sprintf("the mount ends with %v", err))
	}
	p.mountAnew()
	p.do(0, op{Kind: "tree"})
}
