package crypto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// TestReaderReadsOtherWriters makes messages with headers and frames of any
// length, which arrive in pieces of any size.
func TestReaderReadsOtherWriters(t *testing.T) {
	dk := countUp(1, dataKeySize)
	rapid.Check(t, func(rt *rapid.T) {
		edk := someEDK()
		edk.Blob = make([]byte, rapid.IntRange(0, maxHeader-200).Draw(rt, "blob"))
		frameLen := rapid.OneOf(rapid.IntRange(1, 64), rapid.IntRange(1, 3*FrameSize)).Draw(rt, "frame")
		text := someText(rapid.IntRange(0, 5*frameLen).Draw(rt, "text"))
		object := foreignMessage(dk, []EDK{edk}, frameLen, text)
		wrap := rapid.SampledFrom([]func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader,
		}).Draw(rt, "reader")
		if err := iotest.TestReader(readerOf(wrap(bytes.NewReader(object)), dk), text); err != nil {
			rt.Fatal(err)
		}
	})
}

func TestReaderReadsOurs(t *testing.T) {
	for _, n := range []int{0, 1, FrameSize - 1, FrameSize, FrameSize + 1, 2 * FrameSize, 3*FrameSize + 5} {
		for _, full := range []bool{false, true} {
			text := someText(n)
			if got, err := openAll(sealAll(newMessage(t), text, full)); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%d bytes: read %d, %v", n, len(got), err)
			}
		}
	}
}

// TestReaderRefusesRearrangedFrames makes messages of genuine frames that nobody
// sealed so.
func TestReaderRefusesRearrangedFrames(t *testing.T) {
	f, other := threeFrames(t), threeFrames(t)
	header := f.Header().Bytes()
	empty := newMessage(t)
	emptyFinal := empty.Run(1, 1).SealFinal(nil, nil)
	fourth := f.Run(4, 1).SealFinal(nil, []byte("more"))
	for what, parts := range map[string][][]byte{
		"swapped":                    {header, f.two, f.one, f.final},
		"one left out":               {header, f.one, f.final},
		"one twice":                  {header, f.one, f.one, f.two, f.final},
		"no final frame":             {header, f.one, f.two},
		"the final frame alone":      {header, f.final},
		"frames behind the end":      {header, f.one, f.two, f.final, f.final},
		"two final frames":           {header, f.one, f.two, f.final, fourth},
		"a byte behind the end":      {header, f.one, f.two, f.final, {0}},
		"a message behind the end":   {header, f.one, f.two, f.final, header, f.one, f.two, f.final},
		"a frame of another message": {header, f.one, other.two, f.final},
		"the end of another message": {header, f.one, f.two, other.final},
		"the header of another":      {other.Header().Bytes(), f.one, f.two, f.final},
		"cut to nothing":             {header, emptyFinal},
		"the header alone":           {header},
		"half a frame":               {header, f.one, f.two[:Stride/2]},
		"half a final frame":         {header, f.one, f.two, f.final[:60]},
		"a few bytes of a frame":     {header, f.one, f.two[:3]},
	} {
		got, err := openAll(bytes.Join(parts, nil))
		if !errors.Is(err, ErrTampered) || !bytes.HasPrefix(f.text, got) {
			t.Errorf("%s: %d bytes, %v, want ErrTampered", what, len(got), err)
		}
	}
	if got, err := openAll(bytes.Join([][]byte{header, f.one, f.two, f.final}, nil)); err != nil || !bytes.Equal(got, f.text) {
		t.Errorf("as sealed: %d bytes, %v", len(got), err)
	}
}

func TestReaderNamesForeignStreams(t *testing.T) {
	dk := countUp(1, dataKeySize)
	many := foreignMessage(dk, []EDK{{"p", "i", make([]byte, 60000)}, {"p", "i", make([]byte, 60000)}}, 10, nil)
	for what, c := range map[string]struct {
		object []byte
		says   string
	}{
		"nothing":       {nil, "02 04 78"},
		"text":          {bytes.Repeat([]byte("text"), 1000), "02 04 78"},
		"a cut header":  {newMessage(t).Header().Bytes()[:500], "cut off"},
		"a long header": {many, "longer than 65536"},
		"long frames":   {foreignMessage(dk, []EDK{someEDK()}, maxFrameLen+1, nil), "frames of"},
	} {
		if got, err := openAll(c.object); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), c.says) || len(got) > 0 {
			t.Errorf("%s: %d bytes, %v, want ErrForeign that says %q", what, len(got), err, c.says)
		}
	}
}

// TestReaderReadsNoFurther sends frames that are wrong from the beginning, and
// then without end.
func TestReaderReadsNoFurther(t *testing.T) {
	object := foreignMessage(countUp(1, dataKeySize), []EDK{someEDK()}, 10, nil)
	header := object[:len(object)-FinalOverhead]
	for what, start := range map[string][]byte{
		"a final frame of 4 GiB": append(bytes.Repeat([]byte{255}, 4), append(make([]byte, 16), 255, 255, 255, 255)...),
		"a regular frame":        {0, 0, 0, 1},
	} {
		endless := &endless{bytes.NewReader(append(bytes.Clone(header), start...)), 0}
		_, err := io.ReadAll(readerOf(endless, countUp(1, dataKeySize)))
		if !errors.Is(err, ErrTampered) || endless.n > 3*maxHeader {
			t.Errorf("%s: %v after %d bytes", what, err, endless.n)
		}
	}
}

// endless goes on with zeros, and counts all that it gave.
type endless struct {
	first *bytes.Reader
	n     int
}

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	_, _ = e.first.Read(p) // what it does not fill is zero
	e.n += len(p)
	return len(p), nil
}

// TestReaderPassesErrorsOn has the source, and the opening of the keys, fail.
func TestReaderPassesErrorsOn(t *testing.T) {
	f := threeFrames(t)
	object := bytes.Join([][]byte{f.Header().Bytes(), f.one, f.two, f.final}, nil)
	broken := errors.New("broken")
	for _, n := range []int{0, 10, HeaderSize, HeaderSize + 5, HeaderSize + Stride, HeaderSize + Stride + 100, len(object)} {
		r := readerOf(io.MultiReader(bytes.NewReader(object[:n]), iotest.ErrReader(broken)), countUp(1, dataKeySize))
		got, err := io.ReadAll(r)
		if !errors.Is(err, broken) || errors.Is(err, ErrTampered) || !bytes.HasPrefix(f.text, got) {
			t.Errorf("broken after %d: %d bytes, %v", n, len(got), err)
		}
		if _, again := r.Read(make([]byte, 1)); !errors.Is(again, broken) {
			t.Errorf("broken after %d: then %v", n, again)
		}
	}
	calls := 0
	r := NewReader(bytes.NewReader(object), func(h *Header) (*Opener, error) {
		if calls++; !h.Equal(f.Header()) {
			t.Error("open was given another header")
		}
		return nil, broken
	})
	for range 2 {
		if got, err := io.ReadAll(r); !errors.Is(err, broken) || len(got) > 0 {
			t.Errorf("no key: %d bytes, %v", len(got), err)
		}
	}
	if calls != 1 {
		t.Errorf("open was called %d times", calls)
	}
}

// TestReaderAllocatesForWhatArrives sends messages that announce far more than
// they hold.
func TestReaderAllocatesForWhatArrives(t *testing.T) {
	dk := countUp(1, dataKeySize)
	long := foreignMessage(dk, []EDK{someEDK()}, maxFrameLen, nil)
	header := long[:len(long)-FinalOverhead]
	regular := append(bytes.Clone(header), make([]byte, 100_000)...)
	regular[len(header)+3] = 1
	final := append(binary.BigEndian.AppendUint32(bytes.Clone(header), finalMark), make([]byte, 100_000)...)
	binary.BigEndian.PutUint32(final[len(header)+finalHead-4:], maxFrameLen)
	keys := append(bytes.Clone(newMessage(t).Header().Bytes()[:35]), 0, 0, 255, 255)
	for what, object := range map[string][]byte{"regular": regular, "final": final, "wrapped keys": keys} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := openAll(object)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: opened", what)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes were allocated for %d that arrived", what, n, len(object))
		}
	}
}

// TestReaderNeedsOneFrameOfMemory reads a long message: what is allocated does
// not grow with it.
func TestReaderNeedsOneFrameOfMemory(t *testing.T) {
	object := sealAll(newMessage(t), someText(64*FrameSize), false)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, readerOf(bytes.NewReader(object), countUp(1, dataKeySize)), make([]byte, 1000))
	runtime.ReadMemStats(&after)
	if err != nil || n != 64*FrameSize {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated for a message of %d", n, len(object))
	}
}
