package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// slowest is how many tests are named with their times at the end.
const slowest = 5

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of build output, which has no Package
	Elapsed                       float64
}

// log collects events by test.
type log struct {
	out    io.Writer
	output map[string][]string // by package and test; dropped when it passed
	passed []event
	failed []string
	skips  []string
	broken bool // a package failed outside its tests
}

func main() {
	l := &log{out: os.Stdout, output: map[string][]string{}}
	if err := l.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(1)
	}
	if !l.summarise() {
		os.Exit(1)
	}
}

// read follows the events until they end.
func (l *log) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(l.out, lines.Text()) // go's own complaints are not JSON
			continue
		}
		l.note(e)
	}
	return lines.Err()
}

func (l *log) note(e event) {
	id := e.Package + " " + e.Test
	switch {
	case e.Action == "build-output":
		fmt.Fprint(l.out, e.Output)
	case e.Action == "output" && e.Test == "":
		l.packageOutput(e)
	case e.Action == "output":
		l.output[id] = append(l.output[id], e.Output)
	case e.Action == "pass" && e.Test != "":
		l.passed = append(l.passed, e)
		delete(l.output, id)
	case e.Action == "skip" && e.Test != "":
		l.skips = append(l.skips, id)
		l.show(id)
	case e.Action == "fail" && e.Test != "":
		l.failed = append(l.failed, id)
		l.show(id)
	case e.Action == "fail":
		l.broken = true
		l.showUnfinished(e.Package)
	}
}

// packageOutput shows closing lines, and what a package says beside its tests,
// as of a race, a panic or a mount left behind.
func (l *log) packageOutput(e event) {
	if e.Output != "PASS\n" && !strings.HasPrefix(e.Output, "coverage: ") && !strings.Contains(e.Output, "[no test files]") {
		fmt.Fprint(l.out, e.Output)
	}
}

// show prints all output of a test.
func (l *log) show(id string) {
	for _, line := range l.output[id] {
		fmt.Fprint(l.out, line)
	}
	delete(l.output, id)
}

// showUnfinished prints what tests said that never ended, as by a panic.
func (l *log) showUnfinished(pkg string) {
	var ids []string
	for id := range l.output {
		if strings.HasPrefix(id, pkg+" ") {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		l.show(id)
	}
}

// summarise prints the result and reports whether all is well.
func (l *log) summarise() bool {
	slices.SortFunc(l.passed, func(a, b event) int { return cmp.Compare(b.Elapsed, a.Elapsed) })
	shown := 0
	for _, e := range l.passed {
		if shown < slowest && !strings.Contains(e.Test, "/") && e.Elapsed >= 1 {
			fmt.Fprintf(l.out, "slow: %6.1fs %s %s\n", e.Elapsed, e.Package, e.Test)
			shown++
		}
	}
	for _, id := range l.skips {
		fmt.Fprintf(l.out, "skipped, which counts as a failure: %s\n", id)
	}
	for _, id := range l.failed {
		fmt.Fprintf(l.out, "failed: %s\n", id)
	}
	fmt.Fprintf(l.out, "%d passed, %d failed\n", len(l.passed), len(l.failed)+len(l.skips))
	return len(l.passed) > 0 && len(l.failed)+len(l.skips) == 0 && !l.broken
}
