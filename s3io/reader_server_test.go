package s3io

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

const fakeETag = `"v1"`

// objectServer is an S3 that has one object, under every key, and notes the
// ranges that are asked for. Its hook, if any, plays the fault of a GET: it
// reports whether it has answered.
type objectServer struct {
	content []byte
	hook    func(w http.ResponseWriter, r *http.Request, asked stretch) bool

	mu    sync.Mutex // guards the fields below
	etag  string
	gets  []stretch
	now   int // GETs under way
	most  int // of those, ever
	moved *sync.Cond
}

func newObjectServer(content []byte) *objectServer {
	s := &objectServer{content: content, etag: fakeETag}
	s.moved = sync.NewCond(&s.mu)
	return s
}

func (s *objectServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		return // the bucket is there
	}
	var asked stretch
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &asked.off, &asked.end); err != nil {
		s.refuse(w, http.StatusBadRequest, "InvalidRange")
		return
	}
	asked.end++
	s.mu.Lock()
	s.gets = append(s.gets, asked)
	s.now++
	s.most = max(s.most, s.now)
	etag := s.etag
	s.moved.Broadcast()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
		s.moved.Broadcast()
	}()
	switch match := r.Header.Get("If-Match"); {
	case s.hook != nil && s.hook(w, r, asked):
	case match != "" && match != etag:
		s.refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
	default:
		s.head(w, asked, etag)
		_, _ = w.Write(s.content[asked.off:asked.end])
	}
}

// head sends the header of a good answer.
func (s *objectServer) head(w http.ResponseWriter, asked stretch, etag string) {
	w.Header().Set("ETag", etag)
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", asked.off, asked.end-1, len(s.content)))
	w.Header().Set("Content-Length", strconv.FormatInt(asked.end-asked.off, 10))
	w.WriteHeader(http.StatusPartialContent)
}

func (s *objectServer) refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
}

// cut sends the header and half of the content and ends the connection: by a
// reset, or as if nothing had happened.
func (s *objectServer) cut(w http.ResponseWriter, asked stretch, reset bool) {
	s.head(w, asked, fakeETag)
	_, _ = w.Write(s.content[asked.off : asked.off+(asked.end-asked.off)/2])
	_ = http.NewResponseController(w).Flush()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// asked returns the ranges of all GETs, in the order of the file.
func (s *objectServer) asked() []stretch {
	s.mu.Lock()
	defer s.mu.Unlock()
	gets := slices.Clone(s.gets)
	slices.SortFunc(gets, func(a, b stretch) int { return int(a.off - b.off) })
	return gets
}

// until waits for what other goroutines do to the server.
func (s *objectServer) until(cond func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !cond() {
		s.moved.Wait()
	}
}

func (s *objectServer) object() Object {
	return Object{Key: "k", Size: int64(len(s.content)), ETag: fakeETag}
}

// openFake returns a read-only Bucket on s.
func openFake(t *testing.T, s *objectServer, edit ...func(*Options)) *Bucket {
	t.Helper()
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "SECRET")
	o := Options{Bucket: "b", Endpoint: srv.URL, Region: "us-east-1", PathStyle: true, ReadOnly: true,
		SpoolDir: t.TempDir(), LookupTimeout: 20 * time.Second, Require: RequireOff}
	for _, e := range edit {
		e(&o)
	}
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
		if used, _ := b.readers.mem.inUse(); used != 0 {
			t.Errorf("%d bytes of read-ahead were never freed", used)
		}
	})
	return b
}

// noise is incompressible content in which no two places look alike.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// wantBytes checks that a read of p at off came to the content there.
func wantBytes(t testing.TB, content, p []byte, off int64) {
	t.Helper()
	if want := content[off : off+int64(len(p))]; !bytes.Equal(p, want) {
		t.Fatalf("%d bytes at %d are not those of the object", len(p), off)
	}
}
