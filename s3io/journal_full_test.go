package s3io

import (
	"os"
	"testing"
)

// A journal that misses the end of an upload names one too many: the next
// clean-up finds it gone. That is no reason to call a commit failed.
func TestACommitSucceedsWithoutItsLineInTheJournal(t *testing.T) {
	r := newRig(t, Options{StateDir: t.TempDir(), PartSize: minPart})
	w := r.b.NewWriter("file", nil, Condition{})
	want := randomBytes(13, 2*minPart+1)
	begin := r.hold(t, "UploadPart")
	_, err := w.WriteAt(t.Context(), want, 0)
	check(t, err)
	<-begin.reached
	j := r.b.journal
	full, err := os.Open(j.path) // what is written there fails
	check(t, err)
	j.mu.Lock()
	check(t, j.file.Close())
	j.file = full
	j.mu.Unlock()
	begin.release()
	mustCommit(t, w, Attrs{})
	r.wantContent(t, "file", want)
	w.Abort()
}
