package crypto

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// order is a request for frames, as one of several writers of a message makes it.
type order struct {
	sealer int
	first  uint32
	count  int64
	seal   int  // how many of them are sealed
	final  bool // whether the last of those is a final frame
}

func orders() *rapid.Generator[[]order] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) order {
		o := order{
			sealer: rapid.IntRange(0, 3).Draw(t, "sealer"),
			first:  rapid.Uint32Range(1, 12).Draw(t, "first"),
			count:  rapid.Int64Range(1, 3).Draw(t, "count"),
			final:  rapid.Bool().Draw(t, "final"),
		}
		o.seal = rapid.IntRange(0, int(o.count)).Draw(t, "seal")
		return o
	}), 1, 8)
}

// used is where an IV was seen.
type used struct {
	id MessageID
	iv [nonceSize]byte
}

// carry seals what o asks for and reports each frame's IV, taken from the sealed
// bytes. Frames that were handed out before are refused by a panic.
func (o order) carry(s *Sealer, plain []byte, report func(n uint32, iv [nonceSize]byte)) (refused bool) {
	run, err := try(func() *Run { return s.Run(o.first, o.count) })
	if err != nil {
		return true
	}
	for i := range o.seal {
		if n := o.first + uint32(i); o.final && i == o.seal-1 {
			frame := run.SealFinal(nil, plain[:i])
			report(n, [nonceSize]byte(frame[8:]))
		} else {
			frame := run.Seal(nil, plain)
			report(n, [nonceSize]byte(frame[4:]))
		}
	}
	return false
}

// try turns a panic of f into an error.
func try[T any](f func() T) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f(), nil
}

// TestNoIVIsUsedTwice has several goroutines write two messages, through the
// Sealers that began them and through spliced ones, and asks for frames again
// and again.
func TestNoIVIsUsedTwice(t *testing.T) {
	var sealed, refused atomic.Int64
	plain := someText(FrameSize)
	rapid.Check(t, func(rt *rapid.T) {
		a, b := newMessage(t), newMessage(t)
		sealers := []*Sealer{a, b, a.Splice(), b.Splice()}
		scripts := rapid.SliceOfN(orders(), 2, 4).Draw(rt, "scripts")
		var mu sync.Mutex
		seen := map[used]string{}
		var wg sync.WaitGroup
		for _, script := range scripts {
			wg.Go(func() {
				for _, o := range script {
					s := sealers[o.sealer]
					report := func(n uint32, iv [nonceSize]byte) {
						sealed.Add(1)
						mu.Lock()
						defer mu.Unlock()
						where := fmt.Sprintf("frame %d of sealer %d", n, o.sealer)
						if earlier, ok := seen[used{s.Header().ID, iv}]; ok {
							rt.Errorf("%s has the IV %x of %s", where, iv, earlier)
						}
						seen[used{s.Header().ID, iv}] = where
						if random := iv[0]&0x80 != 0; random != (o.sealer >= 2) {
							rt.Errorf("%s has the IV %x", where, iv)
						} else if !random && iv != [nonceSize]byte(binary.BigEndian.AppendUint32(make([]byte, 8), n)) {
							rt.Errorf("%s has the IV %x, want its number", where, iv)
						}
					}
					if o.carry(s, plain, report) {
						refused.Add(1)
					}
				}
			})
		}
		wg.Wait()
	})
	if sealed.Load() < 100 || refused.Load() < 10 {
		t.Errorf("the scripts sealed %d frames and were refused %d times: they try too little", sealed.Load(), refused.Load())
	}
}

// TestFramesAreHandedOutOnce compares Run with a list of what was handed out.
func TestFramesAreHandedOutOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newMessage(t)
		out := map[uint32]bool{}
		for range rapid.IntRange(1, 40).Draw(rt, "runs") {
			first := rapid.Uint32Range(1, 60).Draw(rt, "first")
			count := rapid.Int64Range(1, 8).Draw(rt, "count")
			free := true
			for n := first; n < first+uint32(count); n++ {
				free = free && !out[n]
			}
			if _, err := try(func() *Run { return s.Run(first, count) }); (err == nil) != free {
				rt.Fatalf("Run(%d, %d): %v, want refusal: %v", first, count, err, !free)
			}
			for n := first; free && n < first+uint32(count); n++ {
				out[n] = true
			}
		}
		for i := 1; i < len(s.used); i++ {
			if s.used[i-1].last+1 >= s.used[i].first {
				rt.Fatalf("not merged: %v", s.used)
			}
		}
	})
}

func TestRunsOutsideTheFormatPanic(t *testing.T) {
	for _, c := range []struct {
		first uint32
		count int64
		ok    bool
	}{
		{0, 1, false}, {1, 0, false}, {1, -1, false}, {1, maxFrames, true}, {1, maxFrames + 1, false},
		{maxFrames, 1, true}, {maxFrames, 2, false}, {finalMark, 1, false}, {2, math.MaxInt64, false},
	} {
		s := newMessage(t)
		if _, err := try(func() *Run { return s.Run(c.first, c.count) }); (err == nil) != c.ok {
			t.Errorf("Run(%d, %d): %v, want it to do: %v", c.first, c.count, err, c.ok)
		}
	}
}

func TestRunsEnd(t *testing.T) {
	plain := someText(FrameSize)
	for what, f := range map[string]func(r *Run) []byte{
		"a frame more than asked for": func(r *Run) []byte { r.Seal(nil, plain); r.Seal(nil, plain); return r.Seal(nil, plain) },
		"a frame behind the final one": func(r *Run) []byte {
			r.SealFinal(nil, nil)
			return r.Seal(nil, plain)
		},
		"two final frames":             func(r *Run) []byte { r.SealFinal(nil, nil); return r.SealFinal(nil, nil) },
		"a short regular frame":        func(r *Run) []byte { return r.Seal(nil, plain[1:]) },
		"a final frame that is longer": func(r *Run) []byte { return r.SealFinal(nil, make([]byte, FrameSize+1)) },
	} {
		if _, err := try(func() []byte { return f(newMessage(t).Run(1, 2)) }); err == nil {
			t.Errorf("%s was sealed", what)
		}
	}
}

func TestMeterCountsWhatIsHandedOut(t *testing.T) {
	s := newMessage(t)
	s.meter = new(atomic.Int64)
	s.Run(1, 3)
	s.Run(9, 1)
	if _, err := try(func() *Run { return s.Run(9, 1) }); err == nil {
		t.Error("a frame was handed out twice")
	}
	s.Splice().Run(1, 5)
	if got := s.meter.Load(); got != 4*FrameSize {
		t.Errorf("metered %d bytes, want those of 4 frames", got)
	}
}

// TestOneHeaderPerMessage makes many messages under one data key and with one
// context: each has an id of its own, and one header however it is reached.
func TestOneHeaderPerMessage(t *testing.T) {
	seen := map[MessageID]bool{}
	for range 1000 {
		s := newMessage(t)
		if seen[s.Header().ID] {
			t.Fatalf("message id %x for two headers", s.Header().ID)
		}
		seen[s.Header().ID] = true
		before := bytes.Clone(s.Header().Bytes())
		sealAll(s, nil, false)
		if spliced := s.Splice(); !bytes.Equal(before, spliced.Header().Bytes()) || !bytes.Equal(before, s.Header().Bytes()) {
			t.Fatal("the header changed")
		}
	}
}

// TestSealInPlace seals where the plaintext lies, as parts of an upload are, and
// elsewhere, and compares.
func TestSealInPlace(t *testing.T) {
	text := someText(2*FrameSize + 100)
	id := MessageID(countUp(9, 32))
	begin := func() *Run { return fixedMessage(t, countUp(1, 32), id, someContext(), someEDK()).Run(1, 1) }
	for what, c := range map[string]struct {
		plain []byte
		seal  func(r *Run, dst, plain []byte) []byte
		head  int
	}{
		"regular": {text[:FrameSize], (*Run).Seal, FrameHead},
		"final":   {text[:100], (*Run).SealFinal, Headroom},
		"full":    {text[:FrameSize], (*Run).SealFinal, Headroom},
		"empty":   {nil, (*Run).SealFinal, Headroom},
	} {
		want := c.seal(begin(), nil, c.plain)
		buf := make([]byte, Headroom+len(c.plain)+Tailroom)
		copy(buf[Headroom:], c.plain)
		got := c.seal(begin(), buf[:Headroom-c.head], buf[Headroom:Headroom+len(c.plain)])
		if !bytes.Equal(got[Headroom-c.head:], want) {
			t.Errorf("%s: sealed in its place it is something else", what)
		}
		if &got[0:1:1][0] != &buf[0] {
			t.Errorf("%s: the buffer was replaced", what)
		}
	}
}

func TestSealAppends(t *testing.T) {
	s := newMessage(t)
	run := s.Run(1, 2)
	front := []byte("front")
	got := run.SealFinal(run.Seal(front, someText(FrameSize)), []byte("tail"))
	if !bytes.HasPrefix(got, front) || len(got) != len(front)+Stride+FinalOverhead+4 {
		t.Errorf("%d bytes", len(got))
	}
}
