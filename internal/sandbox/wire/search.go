package wire

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/bits"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	runSize   = 16 // the shortest run that is found
	blockSize = 8  // every run contains a block of the marked bytes that is aligned to this
	maxFound  = 20 // what is told of
)

// A Search looks for runs of 16 marked bytes in streams of any length, in memory of a few times the marked bytes. It
// finds the first such run that is written to each Writer, whole or in pieces. Its methods may be called concurrently.
type Search struct {
	marked []byte
	blocks map[uint64]int // offset in marked of each block
	filter []uint64       // bits by hash of the blocks: most of what is looked through is none of them
	shift  int

	seen atomic.Int64

	mu    sync.Mutex
	found []string
}

// NewSearch marks bytes, which must not repeat themselves: random ones do not. Pieces shorter than 16 bytes mark nothing.
func NewSearch(pieces ...[]byte) (*Search, error) {
	s := &Search{blocks: map[uint64]int{}}
	for _, p := range pieces {
		if len(p) < runSize {
			return nil, fmt.Errorf("mark %d bytes: a run has %d", len(p), runSize)
		}
		start := len(s.marked)
		s.marked = append(s.marked, p...)
		for at := start; at+blockSize <= len(s.marked); at += blockSize {
			block := binary.BigEndian.Uint64(s.marked[at:])
			if other, ok := s.blocks[block]; ok {
				return nil, fmt.Errorf("mark %d bytes: those at %d are those at %d", len(s.marked), at, other)
			}
			s.blocks[block] = at
		}
	}
	s.shift = 64 - max(10, bits.Len(uint(16*len(s.blocks))))
	s.filter = make([]uint64, 1<<(64-s.shift)/64)
	for block := range s.blocks {
		bit := s.hash(block)
		s.filter[bit/64] |= 1 << (bit % 64)
	}
	return s, nil
}

// hash is Fibonacci hashing, Knuth, The Art of Computer Programming, 6.4.
func (s *Search) hash(block uint64) uint64 { return block * 0x9e3779b97f4a7c15 >> s.shift }

// Found returns one line for each stream with a run, of the first 20: where, and which marked bytes.
func (s *Search) Found() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.found)
}

// Seen returns how many bytes were looked through.
func (s *Search) Seen() int64 { return s.seen.Load() }

// Tap looks through everything of a request: its URL, its headers as they are and as what base64 and hexadecimal digits
// in them stand for, and its body.
func (s *Search) Tap(call Call, r *http.Request) io.Writer {
	name := strings.TrimSuffix(call.Op+" "+call.Bucket+"/"+call.Key, " /")
	s.text(name+": URL", r.URL.Path, r.URL.RawQuery)
	for header, values := range r.Header {
		s.text(name+": "+header, append(values, header)...)
	}
	for parameter, values := range r.URL.Query() {
		s.text(name+": "+parameter, values...)
	}
	return s.Writer(name + ": body")
}

// text looks through texts and what they may be the encoding of.
func (s *Search) text(where string, texts ...string) {
	for _, text := range texts {
		_, _ = s.Writer(where).Write([]byte(text)) // a Search takes everything
		if raw, err := hex.DecodeString(text); err == nil {
			_, _ = s.Writer(where + ", from hexadecimal digits").Write(raw)
		}
		common := strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(text) // of both alphabets
		if raw, err := base64.RawStdEncoding.DecodeString(common); err == nil {
			_, _ = s.Writer(where + ", from base64").Write(raw)
		}
	}
}

// Writer returns what looks through one stream, which where names. It never fails.
func (s *Search) Writer(where string) io.Writer { return &searcher{search: s, where: where} }

// searcher is the state between the pieces of a stream.
type searcher struct {
	search *Search
	where  string

	at    int64  // bytes so far
	block uint64 // the latest 8
	older uint64 // the 8 before them
	begun []begun
	told  bool // of a run: one is enough
}

// begun is a run of which fewer than 16 bytes have come.
type begun struct{ next, size int } // the marked offset that must come now, and the bytes so far

func (w *searcher) Write(p []byte) (int, error) {
	w.search.seen.Add(int64(len(p)))
	for rest := p; len(rest) > 0 && !w.told; {
		next := rest
		if len(w.begun) > 0 {
			w.extend(rest[0])
			next = rest[:1]
		}
		rest = rest[w.scan(next):]
	}
	return len(p), nil
}

// scan takes p up to the end of the first marked block, and returns how much that is.
func (w *searcher) scan(p []byte) int {
	s, filter := w.search, w.search.filter
	block, older := w.block, w.older // in registers: the race detector watches every other access
	for i, c := range p {
		older = older<<8 | block>>56
		block = block<<8 | uint64(c)
		bit := s.hash(block)
		if filter[bit/64]&(1<<(bit%64)) == 0 {
			continue
		}
		if off, ok := s.blocks[block]; ok {
			w.at, w.block, w.older = w.at+int64(i)+1, block, older
			w.begin(off)
			return i + 1
		}
	}
	w.at, w.block, w.older = w.at+int64(len(p)), block, older
	return len(p)
}

// begin follows up the block at off in the marked bytes, which is the latest in the stream.
func (w *searcher) begin(off int) {
	if w.at < blockSize { // nothing came before the stream
		return
	}
	size := blockSize
	for older := w.older; size < runSize && off > 0 && w.at > int64(size) && byte(older) == w.search.marked[off-1]; older >>= 8 {
		off--
		size++
	}
	w.follow(begun{off + size, size})
}

// extend compares c with what must come for the runs to go on.
func (w *searcher) extend(c byte) {
	runs := w.begun
	w.begun = nil
	for _, r := range runs {
		if r.next < len(w.search.marked) && w.search.marked[r.next] == c {
			w.follow(begun{r.next + 1, r.size + 1})
		}
	}
}

// follow reports a run that is long enough, or waits for the rest.
func (w *searcher) follow(r begun) {
	if r.size < runSize {
		w.begun = append(w.begun, r)
		return
	}
	if !w.told {
		w.told = true
		w.search.report(fmt.Sprintf("%s: %d marked bytes, from their offset %d", w.where, r.size, r.next-r.size))
	}
}

func (s *Search) report(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.found) < maxFound {
		s.found = append(s.found, line)
	}
}
