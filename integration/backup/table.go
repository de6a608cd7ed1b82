package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// The table lies between these lines of docs/COMPATIBILITY.md.
const (
	tableBegin = "<!-- made from COMPATIBILITY.log by TestTable: begin -->\n"
	tableEnd   = "<!-- end -->\n"
)

// parseLog reads a log's lines.
func parseLog(log []byte) (all []Record, err error) {
	for line := range bytes.Lines(log) {
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		var r Record
		if err := d.Decode(&r); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(all)+1, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// complaints are what makes a log no proof: a failure, or a case that is missing
// somewhere.
func complaints(log []Record, cases []Case) (all []string) {
	type run struct {
		name, server string
		mode         harness.Mode
	}
	passed := map[run]bool{}
	for _, r := range log {
		if r.Outcome == Passed {
			passed[run{r.Case, r.Server, r.Mode}] = true
		} else {
			all = append(all, fmt.Sprintf("%s %s on %s, %s, at %v", r.Case, r.Outcome, r.Server, r.Mode, r.Date))
		}
	}
	for _, c := range cases {
		for _, want := range []run{
			{c.Name, "sandbox", harness.SSE}, {c.Name, "sandbox", harness.Envelope}, {c.Name, "sandbox", harness.Both},
			{c.Name, "minio", harness.SSE}, {c.Name, "minio", harness.Envelope}, {c.Name, "minio", harness.Both},
			{c.Name, "versitygw", harness.Envelope},
		} {
			if !passed[want] {
				all = append(all, fmt.Sprintf("%s did not run on %s in mode %s", want.name, want.server, want.mode))
			}
		}
	}
	return all
}

// table is the table of a log: a line for each case, in which what is said of
// several servers, modes and sizes is drawn together.
func table(log []Record, cases []Case) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s\n\n| case | program | certified | data | longest | where |\n|---|---|---|---|---|---|\n", origin(log))
	for _, c := range cases {
		var longest float64
		versions, sizes, where := map[string]bool{}, map[int]bool{}, map[string][]string{}
		for _, r := range log {
			if r.Case != c.Name || r.Outcome != Passed {
				continue
			}
			longest = max(longest, r.Seconds)
			versions[r.Version], sizes[r.MiB] = true, true
			if mode := string(r.Mode); !slices.Contains(where[r.Server], mode) {
				where[r.Server] = append(where[r.Server], mode)
			}
		}
		places := []string{}
		for _, server := range slices.Sorted(maps.Keys(where)) {
			places = append(places, server+": "+strings.Join(where[server], ", "))
		}
		data := []string{}
		for _, size := range slices.Sorted(maps.Keys(sizes)) {
			data = append(data, fmt.Sprintf("%d MiB", size))
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %v | %s |\n", c.Name, strings.Join(slices.Sorted(maps.Keys(versions)), ", "), c.Certifies,
			strings.Join(data, ", "), time.Duration(longest*float64(time.Second)).Round(time.Second), strings.Join(places, "; "))
	}
	return b.String()
}

// origin says when, where and of what a log is.
func origin(log []Record) string {
	commits, kernels, days := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, r := range log {
		commits[r.Commit], kernels[r.Kernel], days[r.Date.Format(time.DateOnly)] = true, true, true
	}
	list := func(m map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(m)), ", ") }
	return fmt.Sprintf("%d runs at commit %s on %s, %s.", len(log), list(commits), list(days), list(kernels))
}

// within puts the table between its marks.
func within(page, table string) (string, error) {
	head, rest, found := strings.Cut(page, tableBegin)
	_, tail, ended := strings.Cut(rest, tableEnd)
	if !found || !ended {
		return "", fmt.Errorf("the page has no lines %q and %q", tableBegin, tableEnd)
	}
	return head + tableBegin + table + tableEnd + tail, nil
}
