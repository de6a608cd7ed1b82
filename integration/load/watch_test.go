package load

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/ctl"
)

// memory is what the mounts have, and slack what their process may have beyond it.
const (
	memory     = 128 << 20
	memoryFlag = "--memory=128MiB"
	slack      = 64 << 20
)

// figures are what `kmsfs stats --json` says of the mount's process.
type figures struct {
	Goroutines, Descriptors int
	Heap, Buffers, Spool    int64
}

func (f figures) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, heap %d KiB, buffers %d KiB, spool %d KiB",
		f.Goroutines, f.Descriptors, f.Heap>>10, f.Buffers>>10, f.Spool>>10)
}

// look asks the mount how it is, as kmsfs stats does. That would be a child of
// this process, which inherits all open files and closes them: each is flushed
// then, and so committed.
func look(t testing.TB, m *harness.Mount) figures {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	answer, err := ctl.Call(ctx, m.Dir, ctl.Request{Op: ctl.OpStats}, nil)
	harness.Must(t, err)
	var all struct{ Process figures }
	harness.Must(t, json.Unmarshal(answer.Result, &all))
	return all.Process
}

// What may come and go beside the load: connections that are kept for a while,
// each with two goroutines, and go-fuse's readers of requests.
const (
	moreGoroutines  = 120
	moreDescriptors = 40
)

// settled waits until the mount has let go of all that the load took: buffers
// and spool are empty, goroutines and descriptors as before.
func settled(t testing.TB, m *harness.Mount, before figures) {
	t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	for {
		now := look(t, m)
		if now.Buffers == 0 && now.Spool == 0 &&
			now.Goroutines <= before.Goroutines+moreGoroutines && now.Descriptors <= before.Descriptors+moreDescriptors {
			t.Logf("before %v; after %v", before, now)
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Errorf("a minute after the load: %v; before it: %v", now, before)
			return
		}
	}
}

// bounded fails if the mount's process was ever larger than --memory and slack.
func bounded(t testing.TB, m *harness.Mount) {
	t.Helper()
	peak := m.PeakRSS()
	t.Logf("peak RSS %d MiB", peak>>20)
	if peak > memory+slack {
		t.Errorf("the mount took %d MiB with --memory of %d MiB", peak>>20, memory>>20)
	}
}

// grown compares samples of the second half of a load with those of the first.
func grown(t testing.TB, samples []figures) {
	t.Helper()
	most := func(part []figures) (f figures) {
		for _, s := range part {
			f.Goroutines, f.Descriptors, f.Heap = max(f.Goroutines, s.Goroutines), max(f.Descriptors, s.Descriptors), max(f.Heap, s.Heap)
		}
		return f
	}
	half := len(samples) / 2
	first, second := most(samples[:half]), most(samples[half:])
	t.Logf("%d samples; at most %v in the first half, %v in the second", len(samples), first, second)
	if second.Goroutines > first.Goroutines+moreGoroutines || second.Descriptors > first.Descriptors+moreDescriptors {
		t.Error("goroutines or descriptors grow under load")
	}
}
