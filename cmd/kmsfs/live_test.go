package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/s3io"
)

// What others named, or answered, cannot move the cursor of who reads it, nor
// pass for a line of kmsfs's own.
func TestNothingPrintedDrivesATerminal(t *testing.T) {
	evil := "a\x1b]0;owned\x07\x1b[2J\u009b31m\u202egpj\xff\rb"
	server := errors.New(evil)
	for name, print := range map[string]func(*bytes.Buffer) error{
		"error": func(w *bytes.Buffer) error {
			report(std{err: w}, fmt.Errorf("inspect %s: %w", evil, server))
			return nil
		},
		"error of s3io": func(w *bytes.Buffer) error {
			report(std{err: w}, &s3io.Error{Op: "list", Key: evil, Err: errors.Join(server, server)})
			return nil
		},
		"inspect": func(w *bytes.Buffer) error {
			return printInspected(w, inspected{URL: "s3://b/" + evil, ETag: evil, StorageClass: evil, Metadata: map[string]string{evil: evil}})
		},
		"doctor": func(w *bytes.Buffer) error {
			return printChecks(w, []check{{Name: "bucket", Detail: evil, Remedy: evil}})
		},
		"stats": func(w *bytes.Buffer) error {
			return printStatistics(w, statistics{Source: evil, Dir: evil, Waiting: []string{evil}})
		},
		"rekey": func(w *bytes.Buffer) error {
			r := rekeying{s: std{out: w, err: w}, show: newLive(w)}
			r.listLocked(nil, "failed", evil)
			r.warn(evil)
			return nil
		},
		"progress": func(w *bytes.Buffer) error { newLive(w).set("saving: %s", evil); return nil },
	} {
		var out bytes.Buffer
		if err := print(&out); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		text := out.String()
		if s3io.Printable(strings.ReplaceAll(text, "\n", "")) != strings.ReplaceAll(text, "\n", "") || !strings.Contains(text, `\x1b`) {
			t.Errorf("%s prints %q", name, text)
		}
	}
}
