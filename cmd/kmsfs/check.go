package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/kmsfs/kmsfs/s3io"
)

// States of a check.
const (
	stateOK   = "ok"
	stateWarn = "warn"
	stateFail = "fail"
)

// check is one line of what doctor found.
type check struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"` // "" where nothing is wrong
}

// fail says what is wrong and what to do about it.
func (c *check) fail(detail, remedy string) {
	c.State, c.Detail, c.Remedy = stateFail, detail, remedy
}

// printChecks prints a table with one check a line and remedies below them.
func printChecks(w io.Writer, checks []check) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		fmt.Fprintf(t, "%s\t%s\t%s\n", c.State, c.Name, s3io.Printable(c.Detail))
		if c.Remedy != "" {
			fmt.Fprintf(t, "\t\t→ %s\n", s3io.Printable(c.Remedy))
		}
	}
	return t.Flush()
}
