package fs

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// fakeNode counts how often its attributes are written.
type fakeNode struct {
	dir
	wrote chan struct{}
	err   error
}

func (n *fakeNode) writeAttrs(context.Context) error {
	n.wrote <- struct{}{}
	return n.err
}
func (n *fakeNode) unwritten() bool     { return n.err != nil }
func (n *fakeNode) fill(out *fuse.Attr) {}

func newQueue(t *testing.T) (*FS, *fakeNode) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	f := &FS{ctx: ctx, log: Options{}.withDefaults().Log, failures: make(map[string]failure), inos: make(map[uint64]node)}
	f.queue = newAttrQueue(f)
	n := &fakeNode{wrote: make(chan struct{}, 10)}
	n.f = f
	return f, n
}

func TestTheQueueWritesWhatIsDue(t *testing.T) {
	f, n := newQueue(t)
	f.queue.start()
	defer f.queue.stop()
	f.queue.add(n, 0)
	select {
	case <-n.wrote:
	case <-time.After(20 * time.Second):
		t.Fatal("what was due at once is not written")
	}
}

func TestTheQueueWaitsAndMerges(t *testing.T) {
	f, n := newQueue(t)
	f.queue.add(n, never)
	f.queue.add(n, time.Hour) // an end in sight is earlier than none
	f.queue.add(n, 2*time.Hour)
	f.queue.add(n, never)
	ready, _ := f.queue.take(func(_ node, at time.Time) bool {
		return !at.IsZero() && at.Before(time.Now().Add(90*time.Minute))
	})
	if len(ready) != 1 {
		t.Fatalf("%d nodes are due within the hour, want 1", len(ready))
	}
	f.queue.add(n, never)
	if err := f.queue.all(f.ctx); err != nil || len(n.wrote) != 1 {
		t.Fatalf("%d writes, %v", len(n.wrote), err)
	}
	if err := f.queue.all(f.ctx); err != nil || len(n.wrote) != 1 {
		t.Fatalf("written twice: %v", err)
	}
}

func TestTheQueueKeepsWhatFails(t *testing.T) {
	f, n := newQueue(t)
	n.err = errors.New("no way")
	f.queue.add(n, 0)
	if err := f.queue.all(f.ctx); !errors.Is(err, n.err) {
		t.Fatalf("the error is %v", err)
	}
	if len(f.Failures()) != 1 || f.LastError() == "" {
		t.Errorf("failures %q, last error %q", f.Failures(), f.LastError())
	}
	n.err = nil
	if err := f.queue.all(f.ctx); err != nil || len(n.wrote) != 2 {
		t.Errorf("%d writes, %v", len(n.wrote), err)
	}
	if len(f.Failures()) != 0 {
		t.Errorf("failures %q", f.Failures())
	}
}

func TestJobsAreWaitedFor(t *testing.T) {
	var j jobs
	leave := j.enter("one")
	other := j.enter("two")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := j.wait(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("waiting ended with %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- j.wait(context.Background()) }()
	leave()
	if got := j.list(); len(got) != 1 || got[0] != "two" {
		t.Errorf("%q", got)
	}
	other()
	if err := <-waited; err != nil {
		t.Error(err)
	}
}
