package backup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// TestTable compares the table in the documentation with the log that is kept
// beside it; KMSFS_TEST_UPDATE writes it. A log with a failure, or that lacks a
// script, certifies nothing.
func TestTable(t *testing.T) {
	read := func(name string) (path, text string) {
		path = filepath.Join(harness.Root(), "docs", name)
		b, err := os.ReadFile(path)
		harness.Must(t, err)
		return path, string(b)
	}
	_, text := read("COMPATIBILITY.log")
	log, err := parseLog([]byte(text))
	harness.Must(t, err)
	for _, line := range complaints(log, Cases(t)) {
		t.Errorf("docs/COMPATIBILITY.log: %s; run make certify", line)
	}
	path, page := read("COMPATIBILITY.md")
	want, err := within(page, table(log, Cases(t)))
	harness.Must(t, err)
	if os.Getenv("KMSFS_TEST_UPDATE") != "" {
		harness.Must(t, os.WriteFile(path, []byte(want), 0o644))
	} else if page != want {
		t.Errorf("the table in %s is not that of the log: KMSFS_TEST_UPDATE=1 go test -run TestTable ./integration/backup", path)
	}
}

// A log is no proof with a failure, or without a case, and its table says what
// is in it.
func TestLogsThatProveNothing(t *testing.T) {
	const line = `{"commit":"c","date":"2026-01-02T03:04:05Z","kernel":"k","server":"SERVER","mode":"MODE","case":"a","version":"a 1","mib":8,"seconds":1.5,"outcome":"passed"}` + "\n"
	var text string
	for _, run := range []string{"sandbox sse", "sandbox envelope", "sandbox both", "minio sse", "minio envelope", "minio both", "versitygw envelope"} {
		server, mode, _ := strings.Cut(run, " ")
		text += strings.NewReplacer("SERVER", server, "MODE", mode).Replace(line)
	}
	a := []Case{{Name: "a", Certifies: "that"}}
	for _, c := range []struct {
		what, text string
		cases      []Case
		complaints int
	}{
		{"a whole log", text, a, 0},
		{"a failure beside a success", text + strings.Replace(line, "passed", Failed, 1), a, 1},
		{"a failure instead", strings.Replace(text, "passed", Failed, 1), a, 2},
		{"a case that never ran", text, []Case{a[0], {Name: "b"}}, 7},
		{"nothing", "", a, 7},
	} {
		log, err := parseLog([]byte(c.text))
		harness.Must(t, err)
		if got := complaints(log, c.cases); len(got) != c.complaints {
			t.Errorf("%s: %q, want %d complaints", c.what, got, c.complaints)
		}
	}
	log, err := parseLog([]byte(text))
	harness.Must(t, err)
	const want = "| a | a 1 | that | 8 MiB | 2s | minio: sse, envelope, both; sandbox: sse, envelope, both; versitygw: envelope |\n"
	got, err := within("before\n"+tableBegin+"old\n"+tableEnd+"after\n", table(log, a))
	harness.Must(t, err)
	if !strings.Contains(got, want) || strings.Contains(got, "old") || !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "after\n") {
		t.Errorf("the page is\n%s", got)
	}
	for _, broken := range []string{"{\n", `{"commit":1}`, `{"what":"?"}`} {
		if _, err := parseLog([]byte(broken)); err == nil {
			t.Errorf("%q is accepted", broken)
		}
	}
	if _, err := within("a page", ""); err == nil {
		t.Error("a page without marks is accepted")
	}
}
