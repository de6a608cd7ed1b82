package wiretest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A Transcript is one documented request and its documented answer.
type Transcript struct {
	Name   string // of the file, without its extension
	Source string // the page it was taken from

	Method string
	Target string // path and query
	Header http.Header
	Body   string

	Status       int
	AnswerHeader http.Header
	Answer       string // body
}

// Load reads all transcripts that match the pattern, such as testdata/*.http. None is an error.
func Load(t testing.TB, pattern string) []Transcript {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("transcripts %s: %d files, %v", pattern, len(names), err)
	}
	var all []Transcript
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		tr.Name = strings.TrimSuffix(filepath.Base(name), ".http")
		all = append(all, tr)
	}
	return all
}

// Parse reads one transcript.
func Parse(text string) (Transcript, error) {
	var tr Transcript
	for strings.HasPrefix(text, "#") {
		line, rest, _ := strings.Cut(text, "\n")
		if source, ok := strings.CutPrefix(line, "# source: "); ok {
			tr.Source = source
		}
		text = rest
	}
	if tr.Source == "" {
		return tr, fmt.Errorf("transcript names no source")
	}
	request, answer, ok := strings.Cut(text, "\n---\n")
	if !ok {
		return tr, fmt.Errorf("no line --- between request and answer")
	}
	start, header, body, err := message(request)
	if err != nil {
		return tr, fmt.Errorf("request: %w", err)
	}
	fields := strings.Fields(start)
	if len(fields) != 3 {
		return tr, fmt.Errorf("request line %q", start)
	}
	tr.Method, tr.Target, tr.Header, tr.Body = fields[0], fields[1], header, body
	if start, tr.AnswerHeader, tr.Answer, err = message(answer); err != nil {
		return tr, fmt.Errorf("answer: %w", err)
	}
	if fields = strings.Fields(start); len(fields) < 2 {
		return tr, fmt.Errorf("status line %q", start)
	}
	tr.Status, err = strconv.Atoi(fields[1])
	return tr, err
}

// message splits an HTTP message into its first line, headers and body.
func message(text string) (start string, header http.Header, body string, err error) {
	in := bufio.NewReader(strings.NewReader(text + "\n\n"))
	r := textproto.NewReader(in)
	if start, err = r.ReadLine(); err != nil {
		return "", nil, "", err
	}
	h, err := r.ReadMIMEHeader()
	if err != nil {
		return "", nil, "", err
	}
	rest, err := io.ReadAll(in)
	return start, http.Header(h), string(bytes.TrimSpace(rest)), err
}

// Expand replaces {{name}} in target, headers and body of the request.
func (tr Transcript) Expand(vars map[string]string) Transcript {
	var pairs []string
	for name, value := range vars {
		pairs = append(pairs, "{{"+name+"}}", value)
	}
	r := strings.NewReplacer(pairs...)
	tr.Target, tr.Body = r.Replace(tr.Target), r.Replace(tr.Body)
	header := http.Header{}
	for name, values := range tr.Header {
		for _, v := range values {
			header.Add(name, r.Replace(v))
		}
	}
	tr.Header = header
	return tr
}
