package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/kmsfs/kmsfs/s3io"
)

// live shows the state of long work: one line that is written over on a
// terminal, and plain lines at most once a second elsewhere.
type live struct {
	w        io.Writer
	terminal bool
	pause    time.Duration // least time between two states
	last     string
	shown    time.Time
}

// newLive shows on w, which is a terminal or not.
func newLive(w io.Writer) *live {
	l := &live{w: w, terminal: isTerminal(w), pause: time.Second}
	if l.terminal {
		l.pause = 50 * time.Millisecond
	}
	return l
}

// set shows a new state.
func (l *live) set(format string, args ...any) {
	line := s3io.Printable(fmt.Sprintf(format, args...))
	now := time.Now()
	if line == l.last || now.Sub(l.shown) < l.pause {
		return
	}
	l.last, l.shown = line, now
	if l.terminal {
		fmt.Fprintf(l.w, "\r\x1b[K%s", clip(line, 79))
		return
	}
	fmt.Fprintln(l.w, line)
}

// end removes the line from a terminal.
func (l *live) end() {
	if l.terminal && l.last != "" {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
	l.last, l.shown = "", time.Time{}
}

// say prints a message of which others may have made a part: the server, or
// whoever named an object.
func say(w io.Writer, format string, args ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		fmt.Fprintln(w, s3io.Printable(line))
	}
}

// table begins one whose rows others may have made a part of.
func table(w io.Writer) (row func(name, text string), end func() error) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	return func(name, text string) {
		if text != "" {
			fmt.Fprintf(t, "%s\t%s\n", s3io.Printable(name), s3io.Printable(text))
		}
	}, t.Flush
}

// clip returns at most n characters of s.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// isTerminal says whether w is a character device, which is close enough: on
// /dev/null it does not matter.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
