package s3io

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

const kernelRead = 128 << 10

// readAll reads all of server's object in reads of the kernel's size, in the
// order that order makes of them.
func readAll(t *testing.T, server *objectServer, r *Reader, order func(reads []int64)) {
	t.Helper()
	var reads []int64
	for off := int64(0); off < r.object.Size; off += kernelRead {
		reads = append(reads, off)
	}
	order(reads)
	for _, off := range reads {
		p := make([]byte, min(kernelRead, r.object.Size-off))
		if _, err := r.ReadAt(t.Context(), p, off); err != nil {
			t.Fatal(err)
		}
		wantBytes(t, server.content, p, off)
	}
}

func inOrder([]int64) {}

// TestReadAheadIsParallelAndFetchesOnce lets GETs far into the file wait for
// each other: without parallel read-ahead the test does not end.
func TestReadAheadIsParallelAndFetchesOnce(t *testing.T) {
	server := newObjectServer(noise(48<<20 + 12345))
	server.hook = func(_ http.ResponseWriter, _ *http.Request, asked stretch) bool {
		if asked.off >= 16<<20 && asked.off < 32<<20 {
			server.until(func() bool { return server.most >= 3 })
		}
		return false
	}
	b := openFake(t, server, func(o *Options) { o.MaxConnections = 8 })
	r := b.NewReader(server.object())
	defer r.Close()
	readAll(t, server, r, inOrder)
	next := int64(0)
	for _, get := range server.asked() {
		if get.off != next {
			t.Fatalf("GET of %v behind %d: %v", get, next, server.asked())
		}
		next = get.end
	}
	if next != r.object.Size {
		t.Errorf("%d of %d bytes were fetched", next, r.object.Size)
	}
	if server.most > 4 {
		t.Errorf("%d GETs at a time; half of 8 connections are for read-ahead", server.most)
	}
	if n := len(server.asked()); n > 24 {
		t.Errorf("%d GETs for 48 MiB", n)
	}
	if used, peak := b.readers.mem.inUse(); used != 0 || peak < 16<<20 {
		t.Errorf("%d bytes held at the end, %d at the peak", used, peak)
	}
}

// TestReadAheadToleratesDisorder reads as the kernel does: a few READs at a
// time overtake each other.
func TestReadAheadToleratesDisorder(t *testing.T) {
	server := newObjectServer(noise(24 << 20))
	r := openFake(t, server).NewReader(server.object())
	defer r.Close()
	readAll(t, server, r, func(reads []int64) {
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := 0; i < len(reads); i += 12 {
			group := reads[i:min(i+12, len(reads))]
			rnd.Shuffle(len(group), func(a, b int) { group[a], group[b] = group[b], group[a] })
		}
	})
	fetched := int64(0)
	for _, get := range server.asked() {
		fetched += get.end - get.off
	}
	if fetched > r.object.Size+2<<20 {
		t.Errorf("%d bytes were fetched for %d: %v", fetched, r.object.Size, server.asked())
	}
}

// TestReadAheadEndsWithTheStream seeks away from a stream whose GETs hang:
// they must be cancelled and their memory freed.
func TestReadAheadEndsWithTheStream(t *testing.T) {
	server := newObjectServer(noise(64 << 20))
	var cancelled atomic.Int64
	server.hook = func(w http.ResponseWriter, r *http.Request, asked stretch) bool {
		if asked.off < 1<<20 || asked.off >= 32<<20 {
			return false
		}
		<-r.Context().Done()
		cancelled.Add(1)
		return true
	}
	b := openFake(t, server)
	r := b.NewReader(server.object())
	defer r.Close()
	for off := int64(0); off < 1<<20; off += kernelRead {
		if _, err := r.ReadAt(t.Context(), make([]byte, kernelRead), off); err != nil {
			t.Fatal(err)
		}
	}
	for _, off := range []int64{60 << 20, 40 << 20, 50 << 20} {
		if _, err := r.ReadAt(t.Context(), make([]byte, 4096), off); err != nil {
			t.Fatal(err)
		}
	}
	r.fetches.Wait()
	server.until(func() bool { return server.now == 0 })
	if used, _ := b.readers.mem.inUse(); used != 0 || cancelled.Load() == 0 {
		t.Errorf("%d bytes are held, %d GETs were cancelled", used, cancelled.Load())
	}
}

// TestReadAheadSurvivesStrays looks up something far away now and then.
func TestReadAheadSurvivesStrays(t *testing.T) {
	a := readAhead{window: 8 << 20, front: 20 << 20, last: 20 << 20}
	const size = 1 << 30
	for i := range int64(10) {
		if stream, _ := a.note(900<<20+i*10<<20, 4096, size); stream || a.lost() {
			t.Fatalf("stray %d: stream %v, lost %v", i, stream, a.lost())
		}
		if stream, fresh := a.note(a.front, kernelRead, size); !stream || fresh {
			t.Fatalf("after stray %d: stream %v, fresh %v", i, stream, fresh)
		}
		a.front += kernelRead
	}
	for i := range int64(patience + 1) {
		a.note(900<<20+i*10<<20, 4096, size)
	}
	if !a.lost() {
		t.Error("the stream outlives reads that have left it")
	}
}

// TestMissingCoversTheWindow checks that the GETs for a window neither overlap
// nor leave out what the front needs, whatever is there already.
func TestMissingCoversTheWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 200<<20).Draw(t, "size")
		a := readAhead{
			window: firstAhead << rapid.IntRange(0, 6).Draw(t, "doublings"),
			front:  rapid.Int64Range(0, size-1).Draw(t, "front"),
		}
		n := rapid.Int64Range(1, 1<<20).Draw(t, "n")
		there := rapid.MapOfN(rapid.Int64Range(0, 200), rapid.Just(true), 0, 60).Draw(t, "there")
		has := func(unit int64) bool { return there[unit] }
		pos := a.front
		for {
			s := a.missing(pos, n, size, has)
			if s.off == s.end {
				break
			}
			if s.off < pos || s.end > size || s.end-s.off > largestGet || s.end%blockUnit != 0 && s.end != size {
				t.Fatalf("GET of %v from %d on, size %d", s, pos, size)
			}
			for unit := s.off / blockUnit; unit*blockUnit < s.end; unit++ {
				if there[unit] {
					t.Fatalf("unit %d is fetched twice", unit)
				}
				there[unit] = true
			}
			pos = s.end
		}
		for off := a.front; off < min(size, a.front+n); off++ {
			if !there[off/blockUnit] {
				t.Fatalf("nobody fetches byte %d, which the read needs", off)
			}
			off = off/blockUnit*blockUnit + blockUnit - 1
		}
	})
}

func TestBlocksAreSharedByAllWhoWait(t *testing.T) {
	server := newObjectServer(noise(1 << 20))
	release := make(chan struct{})
	server.hook = func(http.ResponseWriter, *http.Request, stretch) bool { <-release; return false }
	r := openFake(t, server).NewReader(server.object())
	defer r.Close()

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p := make([]byte, kernelRead)
			if _, err := r.ReadAt(t.Context(), p, 0); err != nil {
				t.Error(err)
			}
		})
	}
	var gone sync.WaitGroup
	gone.Go(func() {
		if _, err := r.ReadAt(ctx, make([]byte, kernelRead), 0); KindOf(err) != Interrupted || !errors.Is(err, context.Canceled) {
			t.Errorf("the caller went away: %v", err)
		}
	})
	server.until(func() bool { return server.now == 1 })
	for all := false; !all; runtime.Gosched() { // who begins late may find the stream passed
		r.mu.Lock()
		all = r.reads == 9
		r.mu.Unlock()
	}
	cancel()
	gone.Wait()
	close(release)
	wg.Wait()
	if n := len(server.asked()); n != 1 {
		t.Errorf("%d GETs: %v", n, server.asked())
	}
}

// TestFailedBlocksAreNotErrorsForOthers refuses one GET only: its reader asks
// again, and gets the bytes.
func TestFailedBlocksAreNotErrorsForOthers(t *testing.T) {
	server := newObjectServer(noise(4 << 20))
	var refused atomic.Bool
	server.hook = func(w http.ResponseWriter, _ *http.Request, _ stretch) bool {
		if !refused.CompareAndSwap(false, true) {
			return false
		}
		server.refuse(w, http.StatusForbidden, "AccessDenied")
		return true
	}
	r := openFake(t, server).NewReader(server.object())
	defer r.Close()
	readAll(t, server, r, inOrder)
	if !refused.Load() {
		t.Error("nothing was refused")
	}
}

func TestReadAheadGoesWithoutMemory(t *testing.T) {
	server := newObjectServer(noise(3 << 20))
	b := openFake(t, server)
	var taken []*chunk
	for c := b.readers.mem.tryGet(large); c != nil; c = b.readers.mem.tryGet(large) {
		taken = append(taken, c)
	}
	r := b.NewReader(server.object())
	defer r.Close()
	readAll(t, server, r, inOrder)
	if n := len(server.asked()); n != 3<<20/kernelRead {
		t.Errorf("%d GETs: %v", n, server.asked())
	}
	for _, c := range taken {
		c.release()
	}
}

func TestReadAheadTakesMemoryOfTheIdle(t *testing.T) {
	server := newObjectServer(noise(16 << 20))
	b := openFake(t, server, func(o *Options) { o.Memory = 8 << 20 }) // 3 blocks
	b.readers.idle = 0
	idle := b.NewReader(server.object())
	defer idle.Close()
	for off := int64(0); off < 2<<20; off += kernelRead {
		if _, err := idle.ReadAt(t.Context(), make([]byte, kernelRead), off); err != nil {
			t.Fatal(err)
		}
	}
	idle.fetches.Wait()
	busy := b.NewReader(server.object())
	defer busy.Close()
	readAll(t, server, busy, inOrder)
	if len(idle.blocks) != 0 {
		t.Errorf("the idle reader still holds %d blocks", len(idle.blocks))
	}
	p := make([]byte, kernelRead) // and reads on all the same
	if _, err := idle.ReadAt(t.Context(), p, 2<<20); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, server.content, p, 2<<20)
}

func TestReadAheadCanBeOff(t *testing.T) {
	server := newObjectServer(noise(1 << 20))
	r := openFake(t, server, func(o *Options) { o.ReadAhead = -1 }).NewReader(server.object())
	defer r.Close()
	readAll(t, server, r, inOrder)
	if n := len(server.asked()); n != 1<<20/kernelRead {
		t.Errorf("%d GETs", n)
	}
}

// TestCloseFreesWhatHangs closes a reader whose GETs never come.
func TestCloseFreesWhatHangs(t *testing.T) {
	server := newObjectServer(noise(16 << 20))
	server.hook = func(_ http.ResponseWriter, r *http.Request, _ stretch) bool { <-r.Context().Done(); return true }
	b := openFake(t, server)
	r := b.NewReader(server.object())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := r.ReadAt(ctx, make([]byte, kernelRead), 0)
		done <- err
	}()
	server.until(func() bool { return server.now == 1 })
	r.Close()
	cancel()
	if err := <-done; err == nil {
		t.Error("a read of a closed reader went through")
	}
	if used, _ := b.readers.mem.inUse(); used != 0 {
		t.Errorf("%d bytes are held", used)
	}
}
