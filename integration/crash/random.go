package crash

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// Programs that run side by side, and the steps of each.
const (
	writers     = 4
	randomSteps = 80
	randomName  = "random %d"
)

// random is a program that a seed chooses: files are made, replaced, appended to,
// saved, renamed and removed. Each content is its own.
func random(seed uint64) Scenario {
	return Scenario{Name: fmt.Sprintf(randomName, seed), steps: func(w *work) []step {
		d := &drawn{w: w, rng: rand.New(rand.NewPCG(seed, 0)), seed: seed << 32, files: map[string]body{}, now: tree{}}
		for len(d.steps) < randomSteps {
			d.draw()
		}
		return d.steps
	}}
}

// drawn is a random program as far as it is drawn.
type drawn struct {
	w     *work
	rng   *rand.Rand
	seed  uint64 // of the next content
	files map[string]body
	now   tree // the same
	steps []step
}

func (d *drawn) content() body {
	d.seed++
	n := d.rng.IntN(30_000)
	if d.rng.IntN(40) == 0 {
		n += 6 << 20
	}
	return bytesOf(d.seed, n)
}

// do is a step that promises nothing.
func (d *drawn) do(do func() error) { d.steps = append(d.steps, step{do: do}) }

// promise is a step after which the file has the content, or is gone for nil.
func (d *drawn) promise(do func() error, name string, content body) {
	delete(d.files, name)
	d.now = d.now.without(name)
	if content != nil {
		d.files[name], d.now = content, d.now.with(name, regular(content))
	}
	d.steps = append(d.steps, step{do: do, after: d.now})
}

func (d *drawn) draw() {
	names := slices.Sorted(maps.Keys(d.files))
	name := string(rune('f' + d.rng.IntN(6)))
	old, there := d.files[name]
	a, b := d.content(), d.content()
	switch k := d.rng.IntN(10); {
	case k < 4 || len(names) == 0:
		d.do(d.w.open(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC))
		d.do(d.w.write(a))
		d.promise(d.w.close, name, a)
	case k < 7 && there:
		d.do(d.w.open(name, os.O_WRONLY|os.O_APPEND))
		d.do(d.w.write(a))
		d.promise(d.w.sync, name, join(old, a))
		d.do(d.w.write(b))
		d.promise(d.w.close, name, join(old, a, b))
	case k < 9 && names[0] != name:
		moved := d.files[names[0]]
		delete(d.files, names[0])
		d.now = d.now.without(names[0])
		d.promise(d.w.rename(names[0], name), name, moved)
	case there:
		d.promise(d.w.remove(name), name, nil)
	}
}

// heldOpen is a file that is not closed before the process's input ends.
func heldOpen() Scenario {
	content := bytesOf(23, parts)
	return Scenario{Name: "held open", flags: inParts(), steps: func(w *work) []step {
		return []step{
			{do: w.open("f", os.O_WRONLY|os.O_CREATE)}, {do: w.write(content)},
			{do: func() error { _, err := io.Copy(io.Discard, os.Stdin); return err }},
			{do: w.close, after: tree{"f": regular(content)}},
		}
	}}
}

// Random ends mounts at random moments under several programs, beside another
// host that has a file half written all the time.
func Random(t *testing.T, x Target, seed uint64, rounds int) {
	c := newCampaign(t, x, heldOpen())
	other := x
	other.Server = x.OtherHost()
	m := other.Mount(t, c.flags()...)
	theirs := c.prepare(heldOpen(), moment{})
	held := c.start(theirs, m)
	c.adopt()
	rng := rand.New(rand.NewPCG(seed, 1))
	for range rounds {
		c.crashWriters(rng)
	}
	c.mount().Unmount()
	harness.Must(t, held.input.Close())
	held.end(t, theirs)
	if held.err != nil || theirs.acked != len(theirs.steps) {
		t.Errorf("the file of another host: %v\n%s", held.err, held.heard.String())
	}
	m.Unmount()
	theirs.left = c.objects(theirs.name + "/")
	c.end()
}

// adopt waits until the other host has begun its upload, which is not to be
// touched.
func (c *campaign) adopt() {
	c.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		for id, key := range c.uploads(c.tries[0].name + "/f") {
			if _, known := c.theirs[id]; !known {
				c.hosts = map[string]string{id: key}
				return
			}
		}
		select {
		case <-tick.C:
		case <-limit:
			c.t.Fatal("another host does not begin its upload")
		}
	}
}

// crashWriters has several programs run for a while.
func (c *campaign) crashWriters(rng *rand.Rand) {
	c.t.Helper()
	m := c.mount()
	var running []*program
	first := len(c.tries)
	for range writers {
		w := c.prepare(random(uint64(rng.Uint32())), moment{op: "at random"})
		running = append(running, c.start(w, m))
	}
	<-time.After(time.Duration(rng.IntN(1000)) * time.Millisecond)
	when := c.tries[first].when
	for i, p := range running {
		select {
		case <-p.done:
			if p.err != nil {
				c.t.Errorf("%v fails without a reason: %v\n%s", c.tries[first+i], p.err, p.heard.String())
			}
		default:
		}
	}
	c.kill(m, when)
	for i, p := range running {
		p.end(c.t, c.tries[first+i])
	}
	c.bury(m.Dir, when)
}
