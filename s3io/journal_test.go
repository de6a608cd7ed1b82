package s3io

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustJournal(t *testing.T, dir string) *journal {
	t.Helper()
	j, err := openJournal(dir, "bucket", "prefix/")
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// crash ends a journal as the end of its process would.
func (j *journal) crash() { j.file.Close() }

// stale returns the uploads that processes which ended left behind.
func (j *journal) stale() []entry {
	var all []entry
	_ = j.eachStale(func(e entry) error {
		all = append(all, e)
		return errors.New("keep it")
	})
	return all
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestJournalKnowsOnlyWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	alive, dead := mustJournal(t, dir), mustJournal(t, dir)
	other, err := openJournal(dir, "bucket", "other/")
	check(t, err)
	check(t, alive.begin("alive", "u1"))
	check(t, other.begin("other", "u2"))
	check(t, dead.begin("done", "u3"))
	check(t, dead.begin("left \n \"behind\"", "u4"))
	check(t, dead.end("u3"))
	check(t, dead.end("unknown"))
	other.crash()

	next := mustJournal(t, dir)
	if got := next.stale(); got != nil {
		t.Fatalf("stale while both processes live: %v", got)
	}
	dead.crash()
	if !next.lives(alive.process()) || !next.lives(next.process()) || next.lives(dead.process()) || next.lives("nobody") {
		t.Fatal("a live process is taken for dead, or the other way round")
	}
	want := []entry{{Key: "left \n \"behind\"", Upload: "u4"}}
	if diff := cmp.Diff(want, next.stale()); diff != "" {
		t.Fatal(diff)
	}

	// A clean-up that comes to nothing keeps the entries, one that succeeds does not.
	boom := errors.New("boom")
	if err := next.eachStale(func(entry) error { return boom }); !errors.Is(err, boom) {
		t.Fatalf("eachStale: %v", err)
	}
	if diff := cmp.Diff(want, next.stale()); diff != "" {
		t.Fatal(diff)
	}
	check(t, next.eachStale(func(entry) error { return nil }))
	if got := next.stale(); got != nil {
		t.Fatalf("stale after the clean-up: %v", got)
	}
	check(t, next.close())
	if diff := cmp.Diff([]entry(nil), next.stale()); diff != "" {
		t.Fatal(diff)
	}
	check(t, alive.end("u1"))
	check(t, alive.close())
	left, err := filepath.Glob(filepath.Join(alive.dir, "*"))
	check(t, err)
	if want := []string{filepath.Join(alive.dir, "identity")}; !cmp.Equal(want, left) {
		t.Fatalf("left in the state directory: %v", left)
	}
}

func TestJournalPassesOverTornLines(t *testing.T) {
	dir := t.TempDir()
	j := mustJournal(t, dir)
	check(t, j.begin("a", "u1"))
	_, err := j.file.WriteString(`{"key":"torn","upl`)
	check(t, err)
	check(t, j.begin("b", "u2"))
	_, err = j.file.WriteString(`{"key":"torn at the end","upload":"u3`)
	check(t, err)
	j.crash()
	want := []entry{{Key: "a", Upload: "u1"}, {Key: "b", Upload: "u2"}}
	if diff := cmp.Diff(want, mustJournal(t, dir).stale()); diff != "" {
		t.Fatal(diff)
	}
}

func TestJournalStaysShort(t *testing.T) {
	j := mustJournal(t, t.TempDir())
	for range journalLines {
		check(t, j.begin("key", "upload"))
		check(t, j.end("upload"))
	}
	st, err := os.Stat(j.path)
	check(t, err)
	if st.Size() > 100*journalLines {
		t.Fatalf("journal of %d bytes", st.Size())
	}
	check(t, j.begin("key", "last"))
	j.crash()
	data, err := os.ReadFile(j.path)
	check(t, err)
	if diff := cmp.Diff([]entry{{Key: "key", Upload: "last"}}, openEntries(data)); diff != "" {
		t.Fatal(diff)
	}
}

func TestJournalIdentityIsStable(t *testing.T) {
	dir := t.TempDir()
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			j, err := openJournal(dir, "bucket", "")
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = j.identity()
			if err := j.close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || len(id) != uuidLen {
			t.Fatalf("identities %q", ids)
		}
	}
	if a, b := mustJournal(t, ""), mustJournal(t, ""); a.identity() == b.identity() {
		t.Fatal("two mounts without a state directory share an identity")
	}
}

func TestJournalWithoutStateDirectory(t *testing.T) {
	j := mustJournal(t, "")
	check(t, j.begin("key", "upload"))
	check(t, j.end("upload"))
	if got := j.stale(); got != nil {
		t.Fatal(got)
	}
	check(t, j.close())
}
