package s3io

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

func TestWritersShareASmallBudget(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		for _, procs := range []int{1, runtime.GOMAXPROCS(0)} {
			t.Run(fmt.Sprint(procs), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				r := m.rig(t, Options{Memory: 12 << 20, PartSize: minPart, SpoolSize: 1 << 30})
				const writers = 64
				done := make(chan error, writers)
				want := randomBytes(9, 2*minPart+100)
				size := func(i int) int {
					return []int{4 << 10, 300_000, 1 << 20, 4 << 10, 300_000, 3 << 20, 4 << 10, len(want)}[i%8] - i
				}
				for i := range writers {
					go func() {
						w := r.b.NewWriter(fmt.Sprint("file", i), nil, Condition{})
						defer w.Abort()
						n := size(i)
						for off := 0; off < n; off += 300_000 {
							if _, err := w.WriteAt(t.Context(), want[off:min(n, off+300_000)], int64(off)); err != nil {
								done <- err
								return
							}
						}
						_, err := w.Commit(t.Context(), Attrs{})
						done <- err
					}()
				}
				for range writers {
					check(t, <-done)
				}
				for i := range writers {
					r.wantContent(t, fmt.Sprint("file", i), want[:size(i)])
				}
				if _, peak := r.b.writes.mem.inUse(); peak > 6<<20 {
					t.Fatalf("%d bytes of memory used", peak)
				}
			})
		}
	})
}

func TestWriterSpoolFull(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{Memory: 1, PartSize: minPart, SpoolSize: 3 << 20})
		w := r.b.NewWriter("file", nil, Condition{})
		want := randomBytes(10, 4<<20)
		n, err := w.WriteAt(t.Context(), want, 0)
		if KindOf(err) != NoSpace || n == 0 {
			t.Fatalf("a write beyond the spool: %d, %v", n, err)
		}
		mustCommit(t, w, Attrs{}) // as on any file system: what was accepted is there
		r.wantContent(t, "file", want[:n])
		w.Abort()
	})
}

func TestAnAppendThatWaitsForMemoryHoldsNoConnection(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{Memory: 16 * m.inMemory(minPart), PartSize: minPart, MaxConnections: 1, CommitTimeout: 5 * time.Second})
		base := r.put(t, "base", randomBytes(11, 1<<20))
		begin := r.hold(t, "CreateMultipartUpload")
		large, small := r.b.NewWriter("large", nil, Condition{}), r.b.NewWriter("base", &base, Condition{})
		defer large.Abort()
		defer small.Abort()
		_, err := large.WriteAt(t.Context(), randomBytes(12, 4*minPart), 0) // all there is
		check(t, err)
		done := make(chan error, 1)
		go func() {
			_, err := small.WriteAt(t.Context(), []byte("more"), base.Size)
			done <- err
		}()
		mem := r.b.writes.mem
		waitFor(t, func() bool {
			mem.mu.Lock()
			defer mem.mu.Unlock()
			return len(mem.waiters) > 0
		})
		begin.release()
		check(t, <-done)
		mustCommit(t, large, Attrs{})
		mustCommit(t, small, Attrs{})
	})
}

// inMemory returns what the pages of one part of n MiB take.
func (m mode) inMemory(n int64) int64 {
	b := newBudget(0, room{})
	if m == ahead {
		b = newBudget(0, sealRoom)
	}
	return pagesPerLarge*b.sizes[small] + (n/largeChunk-1)*b.sizes[large]
}
