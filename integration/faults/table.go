package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// A Table is docs/FAULTS.md.
type Table struct {
	Requests map[string][]string // by operation: the requests to S3 that it is about
	Keys     map[string][]string // and those to KMS, of mounts that seal
	outcomes map[row][2]string   // without and with sealing
}

// row is what one line says something about, for one of its operations.
type row struct{ fault, form, operation string }

// everything stands for all operations that a fault can strike.
const everything = "all"

// ReadTable reads the document. Rows that say something twice, or of what is
// not known, fail the test, and so do combinations without a row.
func ReadTable(t testing.TB) *Table {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(), "docs", "FAULTS.md"))
	harness.Must(t, err)
	table := &Table{Requests: map[string][]string{}, Keys: map[string][]string{}, outcomes: map[row][2]string{}}
	for _, cells := range lines(string(text), "operation") {
		table.Requests[cells[0]], table.Keys[cells[0]] = list(cells[1]), list(cells[2])
	}
	missing := map[row]bool{}
	for _, f := range Faults() {
		for _, o := range Operations() {
			if f.strikes(o, table.about(f, o.Name)) {
				missing[row{f.Name, f.Form, o.Name}] = true
			}
		}
	}
	for _, o := range Operations() {
		if len(table.Requests[o.Name]) == 0 {
			t.Errorf("the table does not name the requests of %q", o.Name)
		}
	}
	table.read(t, lines(string(text), "fault"), missing)
	for r := range missing {
		t.Errorf("the table has no row for %q, %s, of %q", r.fault, r.form, r.operation)
	}
	return table
}

// about are the requests of the operation to the service that the fault strikes.
func (table *Table) about(f Fault, operation string) []string {
	if f.service != "" {
		return table.Keys[operation]
	}
	return table.Requests[operation]
}

// read takes the rows, and what they say from missing.
func (table *Table) read(t testing.TB, rows [][]string, missing map[row]bool) {
	t.Helper()
	for _, cells := range rows {
		names := list(cells[2])
		if cells[2] == everything {
			names = nil
			for r := range missing {
				if r.fault == cells[0] && r.form == cells[1] {
					names = append(names, r.operation)
				}
			}
		}
		if len(names) == 0 {
			t.Errorf("this row is of nothing: %q", cells)
		}
		for _, name := range names {
			r := row{cells[0], cells[1], name}
			if !missing[r] {
				t.Errorf("the table's row for %q, %s, of %q is its second, or of what cannot be", r.fault, r.form, r.operation)
			}
			delete(missing, r)
			table.outcomes[r] = [2]string{cells[3], cells[4]}
		}
	}
}

// lines returns the cells of the table whose first heading is title.
func lines(text, title string) (rows [][]string) {
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		var cells []string
		for _, c := range strings.Split(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(c))
		}
		switch {
		case cells[0] == title:
			inside = true
		case inside && !strings.HasPrefix(cells[0], "--"):
			rows = append(rows, cells)
		}
	}
	return rows
}

// list splits the words of a cell.
func list(cell string) []string {
	all := strings.Split(cell, ", ")
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// Outcome returns what the row says of mounts in the mode.
func (table *Table) Outcome(f Fault, operation string, m harness.Mode) (string, error) {
	both, ok := table.outcomes[row{f.Name, f.Form, operation}]
	if !ok {
		return "", fmt.Errorf("no row for %q, %s, of %q", f.Name, f.Form, operation)
	}
	if m == harness.SSE {
		return both[0], nil
	}
	return both[1], nil
}
