package s3io

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestReaderReadsTheObject compares reads of 8 goroutines, sequential and
// random ones mixed, with the object, while a part of all answers is cut,
// reset or refused.
func TestReaderReadsTheObject(t *testing.T) {
	content := noise(9 << 20)
	server := newObjectServer(content)
	var faults atomic.Int64 // one of so many GETs fails; 0 is none
	server.hook = func(w http.ResponseWriter, _ *http.Request, asked stretch) bool {
		n := faults.Load()
		if n == 0 || rand.Int64N(n) != 0 {
			return false
		}
		switch rand.IntN(3) {
		case 0:
			server.refuse(w, http.StatusServiceUnavailable, "SlowDown")
		case 1:
			server.cut(w, asked, true)
		case 2:
			server.cut(w, asked, false)
		}
		return true
	}
	b := openFake(t, server)
	rapid.Check(t, func(t *rapid.T) {
		o := server.object()
		o.Size = rapid.OneOf(rapid.Int64Range(0, 9<<20), rapid.Int64Range(0, 100)).Draw(t, "size")
		faults.Store(rapid.SampledFrom([]int64{0, 0, 10, 3}).Draw(t, "faults"))
		seed := rapid.Uint64().Draw(t, "seed")
		r := b.NewReader(o)
		defer r.Close()
		var wg sync.WaitGroup
		errs := make(chan error, 8)
		for g := range uint64(8) {
			wg.Go(func() { errs <- readAbout(r, content[:o.Size], rand.New(rand.NewPCG(seed, g))) })
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// readAbout makes a dozen reads, each with even chances behind the last one or
// anywhere, and compares them as io.ReaderAt's contract says.
func readAbout(r *Reader, content []byte, rnd *rand.Rand) error {
	size := int64(len(content))
	off := int64(0)
	for range 12 {
		if rnd.IntN(4) == 0 {
			off = rnd.Int64N(size + 10)
		}
		p := make([]byte, 1+rnd.IntN(300<<10))
		n, err := r.ReadAt(context.Background(), p, off)
		var want []byte
		if off < size {
			want = content[off:min(size, off+int64(len(p)))]
		}
		switch {
		case err == io.EOF && len(want) == len(p):
			return errors.New("io.EOF before the end")
		case err == nil && len(want) < len(p):
			return errors.New("no io.EOF at the end")
		case err != nil && err != io.EOF:
			return err
		case !bytes.Equal(p[:n], want):
			return errors.New("other bytes than the object's")
		}
		off += int64(n)
	}
	return nil
}

func TestReaderAsksForRandomReadsExactly(t *testing.T) {
	server := newObjectServer(noise(32 << 20))
	r := openFake(t, server).NewReader(server.object())
	defer r.Close()
	want := []stretch{{3 << 20, 3<<20 + 4096}, {12<<20 - 1, 13<<20 + 1}, {25 << 20, 25<<20 + 100}, {32<<20 - 10, 32 << 20}}
	for _, i := range []int{2, 0, 3, 1} {
		p := make([]byte, want[i].end-want[i].off)
		if _, err := r.ReadAt(t.Context(), p, want[i].off); err != nil {
			t.Fatal(err)
		}
		wantBytes(t, server.content, p, want[i].off)
	}
	if diff := cmp.Diff(want, server.asked(), cmp.AllowUnexported(stretch{})); diff != "" {
		t.Error(diff)
	}
}

func TestReaderGetsSmallFilesInOneRequest(t *testing.T) {
	for _, c := range []struct{ size, read int }{{1, 4096}, {4096, 4096}, {70 << 10, 4096}, {1 << 20, 128 << 10}} {
		server := newObjectServer(noise(c.size))
		r := openFake(t, server).NewReader(server.object())
		got, err := io.ReadAll(io.NewSectionReader(readerAt{t.Context(), r}, 0, int64(c.size)))
		if err != nil {
			t.Fatal(err)
		}
		wantBytes(t, server.content, got, 0)
		if gets := server.asked(); len(gets) != 1 || gets[0] != (stretch{0, int64(c.size)}) {
			t.Errorf("%d bytes, read by %d: GETs of %v", c.size, c.read, gets)
		}
		if used, _ := r.pool.mem.inUse(); used != 0 {
			t.Errorf("%d bytes are held after all was read", used)
		}
		r.Close()
	}
}

// readerAt reads as the io package wants it.
type readerAt struct {
	ctx context.Context
	r   *Reader
}

func (a readerAt) ReadAt(p []byte, off int64) (int, error) { return a.r.ReadAt(a.ctx, p, off) }

func TestReaderTellsThatTheObjectChanged(t *testing.T) {
	cases := map[string]func(*objectServer){
		"If-Match refused": func(s *objectServer) { s.etag = `"v2"` },
		"If-Match ignored": func(s *objectServer) {
			s.hook = func(w http.ResponseWriter, _ *http.Request, asked stretch) bool {
				s.head(w, asked, `"v2"`)
				_, _ = w.Write(s.content[asked.off:asked.end])
				return true
			}
		},
		"deleted": func(s *objectServer) {
			s.hook = func(w http.ResponseWriter, _ *http.Request, _ stretch) bool {
				s.refuse(w, http.StatusNotFound, "NoSuchKey")
				return true
			}
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			server := newObjectServer(noise(8 << 20))
			change(server)
			r := openFake(t, server).NewReader(server.object())
			defer r.Close()
			for _, off := range []int64{0, 4096, 5 << 20} { // read ahead, and exact
				n, err := r.ReadAt(t.Context(), make([]byte, 4096), off)
				if KindOf(err) != Stale || n != 0 {
					t.Errorf("read at %d: %d, %v", off, n, err)
				}
			}
		})
	}
}

func TestReaderRefusesAnswersForOtherRanges(t *testing.T) {
	server := newObjectServer(noise(8 << 20))
	server.hook = func(w http.ResponseWriter, _ *http.Request, asked stretch) bool {
		asked.off, asked.end = asked.off+1, asked.end+1
		server.head(w, asked, fakeETag)
		_, _ = w.Write(server.content[asked.off:asked.end])
		return true
	}
	r := openFake(t, server).NewReader(server.object())
	defer r.Close()
	n, err := r.ReadAt(t.Context(), make([]byte, 4096), 2<<20)
	if KindOf(err) != Integrity || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
}

func TestReaderGivesUpAtItsDeadline(t *testing.T) {
	server := newObjectServer(noise(8 << 20))
	server.hook = func(w http.ResponseWriter, r *http.Request, asked stretch) bool {
		server.head(w, asked, fakeETag)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	}
	b := openFake(t, server, func(o *Options) { o.LookupTimeout = 300 * time.Millisecond })
	r := b.NewReader(server.object())
	defer r.Close()
	for _, off := range []int64{0, 5 << 20} { // read ahead, and exact
		if n, err := r.ReadAt(t.Context(), make([]byte, 4096), off); KindOf(err) != Timeout || n != 0 {
			t.Errorf("read at %d: %d, %v", off, n, err)
		}
	}
}

func TestReaderAfterClose(t *testing.T) {
	server := newObjectServer(noise(100))
	r := openFake(t, server).NewReader(server.object())
	r.Close()
	r.Close()
	if _, err := r.ReadAt(t.Context(), make([]byte, 10), 0); !errors.Is(err, errReaderClosed) {
		t.Error(err)
	}
}
