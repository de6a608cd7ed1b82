package fs

import (
	"context"
	"errors"
	"testing"

	"github.com/kmsfs/kmsfs/s3io"
)

// Between the last close of one writer and the end of what it could not save,
// another may open the file and write: that is not given up.
func TestWhatANewWriterWroteIsNotGivenUp(t *testing.T) {
	f := &FS{ctx: context.Background()}
	f.moves = newMoves(&f.tree)
	f.queue = newAttrQueue(f)
	n := f.newFile(s3io.Object{Key: "f", Size: 3, ETag: `"e"`})
	n.unsaved, n.cut, n.err, n.writers, n.changed = true, true, errors.New("not saved"), 1, 1
	n.giveUp()
	if !n.unsaved || !n.cut || n.err == nil {
		t.Error("the writer will not be told that its data is gone")
	}
	n.writers = 0
	n.giveUp()
	if n.unsaved || n.cut || n.err != nil {
		t.Error("what could not be saved stays when nobody can save it")
	}
	if len(f.queue.due) != 1 {
		t.Error("attributes that were to go with the commit are forgotten")
	}
}

// The end of a close that comes late commits nothing that another writer is about to
// write: it would be published half-written, and its failure told to somebody else.
func TestALateCloseLeavesTheNextWriterAlone(t *testing.T) {
	f := &FS{ctx: context.Background()}
	f.moves = newMoves(&f.tree)
	n := f.newFile(s3io.Object{Key: "f", Size: 3, ETag: `"e"`})
	n.unsaved, n.cut, n.writers = true, true, 1
	n.lastWriter(true) // there is no bucket to commit to
	if !n.unsaved || !n.cut || n.err != nil || n.late != nil {
		t.Errorf("unsaved %v, cut %v, error %v, late %v", n.unsaved, n.cut, n.err, n.late)
	}
}
