package posix

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// modelTime is the environment variable that says how long random programs are
// run in each mode.
const modelTime = "KMSFS_TEST_MODEL_TIME"

// shortenFor is how long a program that fails is shortened.
const shortenFor = 30 * time.Second

// TestModel runs random programs on a mount and on a plain directory, by two
// processes, and compares what these see after every step, and the whole trees
// at the end and after remounts. Where one fails, rapid prints the flags that
// run it again, and we the shortest part of it that fails.
func TestModel(t *testing.T) {
	t.Parallel()
	budget := 30 * time.Second
	if s := os.Getenv(modelTime); s != "" {
		var err error
		if budget, err = time.ParseDuration(s); err != nil {
			t.Fatalf("%s: %v; want a duration such as 10m", modelTime, err)
		}
	}
	harness.Must(t, errors.Join(
		flag.Set("rapid.checks", "50000"),  // the time decides
		flag.Set("rapid.steps", "80"),      // a remount takes longer than many steps
		flag.Set("rapid.shrinktime", "0s"), // see shorten
	))
	for _, mode := range chosen() {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, mode)
			end := time.Now().Add(budget)
			defer m.shorten()
			rapid.Check(t, func(rt *rapid.T) {
				if m.failing != nil || time.Now().Before(end) {
					m.check(rt)
				}
			})
			t.Logf("%d programs of %d system calls in all, %d remounts; succeeded: %v", m.programs, m.steps, m.remounts, m.done)
			m.mount.Unmount()
			if left := m.srv.Keys(t); len(left) != 0 && !m.left {
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
	kinds   []kind

	failing                   []entry // the program that failed, if one did
	broken                    bool    // the mount does not work, or may not
	left                      bool    // a program ended before it removed what it made: its fail file does not fit
	programs, steps, remounts int
	done                      map[string]int // steps that succeeded, by kind
}

func newModel(t *testing.T, mode harness.Mode) *model {
	m := &model{t: t, srv: harness.Sandbox(t).In(t, mode), dir: t.TempDir(), plain: t.TempDir(), kinds: kinds(), done: map[string]int{}}
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

// check runs one random program.
func (m *model) check(t *rapid.T) {
	m.fresh()
	p, left := m.begin(), true
	defer func() { m.left = m.left || left }()
	try := func(e entry) {
		if err := p.run(e); err != nil {
			m.failing = p.told
			t.Fatalf("%v: %v", e, err)
		}
	}
	t.Repeat(map[string]func(*rapid.T){"step": func(t *rapid.T) {
		drawn := step(p).Draw(t, "step")
		try(drawn.entry)
		if p.ok {
			m.done[drawn.kind]++
		}
	}})
	try(entry{Op: op{Kind: "close all"}})
	try(entry{1, op{Kind: "close all"}})
	try(entry{Op: op{Kind: "tree"}})
	if rapid.Bool().Draw(t, "remount at the end") {
		try(entry{Op: op{Kind: remount}})
	}
	if err := errors.Join(os.RemoveAll(p.side.root), os.RemoveAll(p.dir)); err != nil {
		t.Fatal(err)
	}
	left = false
}

// shorten runs parts of the program that failed, ever smaller ones, and tells
// the smallest that still fails.
func (m *model) shorten() {
	if m.failing == nil {
		return
	}
	var why error
	var log string
	fails := func(program []entry) bool {
		m.fresh()
		p := m.begin()
		for _, e := range program {
			if err := p.run(e); err != nil {
				why, log = fmt.Errorf("%v: %w", e, err), m.mount.Log()
				m.failing = p.told
				return true
			}
		}
		return false
	}
	if !fails(m.failing) {
		m.t.Logf("a second run does not fail")
	}
	end := time.Now().Add(shortenFor)
	for size := len(m.failing) / 2; size > 0 && time.Now().Before(end); {
		shorter := false
		for at := 0; at+size <= len(m.failing) && time.Now().Before(end); {
			if fails(slices.Delete(slices.Clone(m.failing), at, at+size)) {
				shorter = true
			} else {
				at += size
			}
		}
		if size > 1 || !shorter {
			size /= 2
		}
	}
	var b strings.Builder
	for _, e := range m.failing {
		fmt.Fprintf(&b, "\t%v\n", e)
	}
	m.t.Logf("the shortest program that fails:\n%s%v\nlog of the mount:\n%s", &b, why, log)
}
