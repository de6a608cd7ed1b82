package posix

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// entry is a step of a program and who does it.
type entry struct {
	Who int // index of the worker
	Op  op
}

func (e entry) String() string { return fmt.Sprintf("worker %d %v", e.Who, e.Op) }

// remount is the kind of step that unmounts, mounts again, and compares the
// trees.
const remount = "remount"

// program is one run of steps, in a directory of its own.
type program struct {
	*model
	dir  string // on the mount
	side side   // the plain directory, to see what is there
	open [2][slots]bool
	told []entry
	ok   bool // the last step succeeded
}

// begin tells the workers where a new program works, and makes two directories.
func (m *model) begin() *program {
	m.programs++
	name := fmt.Sprint(m.programs)
	p := &program{model: m, dir: filepath.Join(m.dir, name), side: side{root: filepath.Join(m.plain, name)}}
	for _, dir := range []string{p.dir, p.side.root} {
		harness.Must(m.t, os.Mkdir(dir, 0o755))
		harness.Must(m.t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
		harness.Must(m.t, os.Mkdir(filepath.Join(dir, "e"), 0o755))
	}
	for _, w := range m.workers {
		_, err := w.do(order{Mount: p.dir, Plain: p.side.root, Op: op{Kind: "close all"}}, m.mount.Abort)
		harness.Must(m.t, err)
	}
	return p
}

// run does a step and has the other worker look at what it was done to. The
// error says what differs.
func (p *program) run(e entry) error {
	p.told = append(p.told, e)
	if e.Op.Kind == remount {
		return p.remount()
	}
	ok, err := p.do(e)
	if err != nil {
		return err
	}
	p.ok = ok
	switch {
	case e.Op.Kind == "open":
		p.open[e.Who][e.Op.Slot] = ok
	case e.Op.Kind == "close" && ok:
		p.open[e.Who][e.Op.Slot] = false
	case e.Op.Kind == "close all":
		p.open[e.Who] = [slots]bool{}
	}
	for _, path := range []string{e.Op.Path, e.Op.To} {
		if path == "" || e.Op.Kind == "symlink" {
			continue
		}
		if _, err := p.do(entry{1 - e.Who, op{Kind: "lstat", Path: path}}); err != nil {
			return fmt.Errorf("then lstat %s: %w", path, err)
		}
	}
	return nil
}

// do has a worker do a step, and reports whether it succeeded, on both sides.
func (p *program) do(e entry) (ok bool, err error) {
	p.steps++
	p.broken = true
	a, err := p.workers[e.Who].do(order{Op: e.Op}, p.mount.Abort)
	if err != nil {
		return false, err
	}
	d := a.difference()
	if p.broken = strings.Contains(d, "ENOTCONN"); d != "" {
		return false, fmt.Errorf("%s", d)
	}
	return a.Plain.Err == "", nil
}

func (p *program) remount() error {
	p.remounts++
	for who := range p.workers {
		if _, err := p.do(entry{who, op{Kind: "close all"}}); err != nil {
			return fmt.Errorf("close all: %w", err)
		}
	}
	p.open = [2][slots]bool{}
	p.broken = true
	if out, err := p.mount.TryUnmount(); err != nil {
		return fmt.Errorf("unmount: %w: %s", err, out)
	}
	if err := p.mount.Wait(); err != nil {
		return fmt.Errorf("the mount ends: %w", err)
	}
	p.mountAnew()
	p.broken = false
	_, err := p.do(entry{Op: op{Kind: "tree"}})
	return err
}
