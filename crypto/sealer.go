package crypto

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Headroom and Tailroom are what Seal and SealFinal need before and behind
// plaintext that they seal in its place, in bytes.
const (
	Headroom = finalHead
	Tailroom = tagSize
)

// Sealer seals the frames of one message. It hands each frame number out once,
// whatever its callers do, which is what keeps a nonce from repeating. It is
// safe for concurrent use.
type Sealer struct {
	*Opener               // opens what was sealed
	spliced bool          // the message was begun by somebody else: IVs are random
	meter   *atomic.Int64 // counts the plaintext bytes of the frames handed out; may be nil

	mu   sync.Mutex // guards the fields below
	used []span     // frame numbers handed out, in order, merged
}

// span is a range of frame numbers, both ends included.
type span struct{ first, last uint32 }

// newSealer begins a message under the bytes of a data key, with a message ID
// that nobody used before, and writes its only header.
func newSealer(dk []byte, pairs map[string]string, edks []EDK) (*Sealer, error) {
	var id MessageID
	rand.Read(id[:]) // never fails
	keys := derive(dk, id)
	h, err := buildHeader(id, pairs, edks, keys)
	if err != nil {
		return nil, err
	}
	return &Sealer{Opener: &Opener{header: h, keys: keys}}, nil
}

// Splice returns a Sealer of frames that join those of an existing message, or
// take their places. It cannot know which IVs were used, so it draws random
// ones that no beginning of a message uses.
func (o *Opener) Splice() *Sealer { return &Sealer{Opener: o, spliced: true} }

// Run hands out the count frames from first on. It panics if one of them was
// handed out before: whoever asks twice has lost track of what is sealed.
func (s *Sealer) Run(first uint32, count int64) *Run {
	if first == 0 || count < 1 || count > maxFrames-int64(first)+1 {
		panic(fmt.Sprintf("crypto: no frames %d and %d more", first, count-1))
	}
	r := span{first, first + uint32(count-1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.used, r, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	if i > 0 && s.used[i-1].last >= r.first || i < len(s.used) && s.used[i].first <= r.last {
		panic(fmt.Sprintf("crypto: frames %d to %d were handed out before", r.first, r.last))
	}
	s.used = slices.Insert(s.used, i, r)
	if i+1 < len(s.used) && s.used[i+1].first == r.last+1 {
		s.used[i].last = s.used[i+1].last
		s.used = slices.Delete(s.used, i+1, i+2)
	}
	if i > 0 && s.used[i-1].last+1 == r.first {
		s.used[i-1].last = s.used[i].last
		s.used = slices.Delete(s.used, i, i+1)
	}
	if s.meter != nil {
		s.meter.Add(count * FrameSize)
	}
	return &Run{sealer: s, next: r.first, end: r.last}
}

// Run seals frames that were handed out to it, each once and in their order.
// One goroutine at a time may use it.
type Run struct {
	sealer    *Sealer
	next, end uint32 // what is left to seal
	s         scratch
}

// Seal appends the next frame to dst, sealed from plaintext of FrameSize bytes,
// and returns the result. plaintext may lie where the ciphertext comes to
// be, FrameHead bytes behind the end of dst; else they must not overlap.
func (r *Run) Seal(dst, plaintext []byte) []byte {
	if len(plaintext) != FrameSize {
		panic(fmt.Sprintf("crypto: a regular frame of %d bytes", len(plaintext)))
	}
	n := r.take()
	dst = binary.BigEndian.AppendUint32(dst, n)
	dst = append(dst, r.s.iv[:]...)
	return r.seal(dst, plaintext, n, false)
}

// FrameHead and Headroom are how far behind dst the ciphertext of a regular and
// of a final frame begins.
const FrameHead = regularHead

// SealFinal is Seal for the frame that ends the message, of up to FrameSize
// bytes. plaintext may lie Headroom bytes behind the end of dst.
func (r *Run) SealFinal(dst, plaintext []byte) []byte {
	if len(plaintext) > FrameSize {
		panic(fmt.Sprintf("crypto: a final frame of %d bytes", len(plaintext)))
	}
	n := r.take()
	r.end = 0 // nothing can follow
	dst = binary.BigEndian.AppendUint32(dst, finalMark)
	dst = binary.BigEndian.AppendUint32(dst, n)
	dst = append(dst, r.s.iv[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(plaintext)))
	return r.seal(dst, plaintext, n, true)
}

// take returns the number of the next frame and sets its IV: the number, in a
// message of our own; else random bits, with the top one set, which no number
// has.
func (r *Run) take() uint32 {
	if r.next > r.end {
		panic("crypto: no frame is left to seal")
	}
	n := r.next
	r.next++
	if r.sealer.spliced {
		rand.Read(r.s.iv[:]) // never fails
		r.s.iv[0] |= 0x80
	} else {
		binary.BigEndian.PutUint32(r.s.iv[nonceSize-4:], n) // behind zeros
	}
	return n
}

func (r *Run) seal(dst, plaintext []byte, n uint32, final bool) []byte {
	return r.sealer.keys.content.Seal(dst, r.s.iv[:], plaintext, r.s.bind(&r.sealer.header.ID, n, final, len(plaintext)))
}
