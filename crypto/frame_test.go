package crypto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// frames is a message of three frames, taken apart.
type frames struct {
	*Sealer
	one, two, final []byte
	text            []byte
}

func threeFrames(t testing.TB) frames {
	t.Helper()
	return framesOf(newMessage(t))
}

func framesOf(s *Sealer) frames {
	f := frames{Sealer: s, text: someText(2*FrameSize + 100)}
	run := f.Run(1, 3)
	f.one = run.Seal(nil, f.text[:FrameSize])
	f.two = run.Seal(nil, f.text[FrameSize:2*FrameSize])
	f.final = run.SealFinal(nil, f.text[2*FrameSize:])
	return f
}

func TestOpenFrames(t *testing.T) {
	f := threeFrames(t)
	if _, err := f.Open(nil, f.forge(7, false, FrameSize), 7, false); err != nil {
		t.Errorf("a forged frame that is right: %v", err)
	}
	for _, c := range []struct {
		frame []byte
		n     uint32
		want  []byte
	}{{f.one, 1, f.text[:FrameSize]}, {f.two, 2, f.text[FrameSize : 2*FrameSize]}, {f.final, 3, f.text[2*FrameSize:]}} {
		got, err := f.Open([]byte("front"), c.frame, c.n, c.n == 3)
		if err != nil || !bytes.Equal(got, append([]byte("front"), c.want...)) {
			t.Errorf("frame %d: %d bytes, %v", c.n, len(got), err)
		}
		head := len(c.frame) - len(c.want) - tagSize
		got, err = f.Open(c.frame[head:head], c.frame, c.n, c.n == 3)
		if err != nil || !bytes.Equal(got, c.want) || len(got) > 0 && &got[0] != &c.frame[head] {
			t.Errorf("frame %d in its place: %d bytes, %v", c.n, len(got), err)
		}
	}
}

// forge seals a frame that no writer should, but whoever has the key can.
func (f frames) forge(n uint32, final bool, size int) []byte {
	iv := make([]byte, nonceSize)
	b := append(binary.BigEndian.AppendUint32(nil, n), iv...)
	if final {
		b = append(binary.BigEndian.AppendUint32(nil, finalMark), b...)
		b = binary.BigEndian.AppendUint32(b, uint32(size))
	}
	return f.keys.content.Seal(b, iv, make([]byte, size), new(scratch).bind(&f.Header().ID, n, final, size))
}

// TestFramesOutOfPlace offers frames as what they are not.
func TestFramesOutOfPlace(t *testing.T) {
	f := threeFrames(t)
	other := threeFrames(t) // under the same data key, with the same context
	set := func(frame []byte, at int, v uint32) []byte {
		frame = bytes.Clone(frame)
		binary.BigEndian.PutUint32(frame[at:], v)
		return frame
	}
	asFinal := append(binary.BigEndian.AppendUint32(nil, finalMark), f.one[:regularHead]...)
	asFinal = append(binary.BigEndian.AppendUint32(asFinal, FrameSize), f.one[regularHead:]...)
	full := f.Splice().Run(3, 1).SealFinal(nil, f.text[:FrameSize])
	asRegular := append(bytes.Clone(full[4:8+nonceSize]), full[finalHead:]...)
	for what, c := range map[string]struct {
		frame []byte
		n     uint32
		final bool
	}{
		"the second as the first":             {f.two, 1, false},
		"the second renumbered as the first":  {set(f.two, 0, 1), 1, false},
		"a regular one where the last is due": {f.one, 1, true},
		"a regular one dressed as the last":   {asFinal, 1, true},
		"the last before its place":           {f.final, 2, true},
		"the last renumbered":                 {set(f.final, 4, 2), 2, true},
		"the last where a regular one is due": {f.final, 3, false},
		"the last dressed as a regular one":   {asRegular, 3, false},
		"one of another message":              {other.one, 1, false},
		"the last of another message":         {other.final, 3, true},
		"a last one that says it is longer":   {set(f.final, finalHead-4, 101), 3, true},
		"a last one that says it is shorter":  {set(f.final, finalHead-4, 99), 3, true},
		"a last one without its last byte":    {f.final[:len(f.final)-1], 3, true},
		"a last one cut and relabelled":       {set(f.final[:len(f.final)-1], finalHead-4, 99), 3, true},
		"a last one and a byte":               {append(bytes.Clone(f.final), 0), 3, true},
		"one without its last byte":           {f.one[:len(f.one)-1], 1, false},
		"one and a byte":                      {append(bytes.Clone(f.one), 0), 1, false},
		"nothing":                             {nil, 1, false},
		"nothing, as the last":                {nil, 1, true},
		"the head of a last one":              {f.final[:finalHead], 3, true},
		"the number of the mark":              {f.forge(finalMark, false, FrameSize), finalMark, false},
		"a final frame that is longer":        {f.forge(3, true, FrameSize+1), 3, true},
		"a regular frame that is longer":      {f.forge(1, false, FrameSize+1), 1, false},
		"a regular frame that is shorter":     {f.forge(1, false, FrameSize-1), 1, false},
	} {
		if plain, err := f.Open(nil, c.frame, c.n, c.final); !errors.Is(err, ErrTampered) || plain != nil {
			t.Errorf("%s: %d bytes, %v; want ErrTampered", what, len(plain), err)
		}
	}
}

// TestFlippedBitsOfFrames flips every bit of the final frame and of what
// surrounds a regular one, and some of its ciphertext.
func TestFlippedBitsOfFrames(t *testing.T) {
	f := threeFrames(t)
	flip := func(frame []byte, n uint32, at, bit int) {
		frame = bytes.Clone(frame)
		frame[at] ^= 1 << bit
		if plain, err := f.Open(nil, frame, n, n == 3); !errors.Is(err, ErrTampered) || plain != nil {
			t.Fatalf("frame %d with bit %d of byte %d flipped: %v, want ErrTampered", n, bit, at, err)
		}
	}
	for bit := range len(f.final) * 8 {
		flip(f.final, 3, bit/8, bit%8)
	}
	for at := 0; at < len(f.one); at++ {
		if at >= regularHead && at < len(f.one)-tagSize {
			flip(f.one, 1, at, at%8)
			at += 96
			continue
		}
		for bit := range 8 {
			flip(f.one, 1, at, bit)
		}
	}
}

// TestFailedOpenLeavesNoPlaintext looks at the buffer of a frame whose tag is
// wrong: GCM decrypts before it knows.
func TestFailedOpenLeavesNoPlaintext(t *testing.T) {
	f := threeFrames(t)
	f.final[len(f.final)-1] ^= 1
	buf := make([]byte, 0, 100)
	if _, err := f.Open(buf, f.final, 3, true); err == nil {
		t.Fatal("opened")
	}
	if got := buf[:100]; bytes.Contains(f.text[2*FrameSize:], got[:4]) {
		t.Errorf("%x is left", got)
	}
}

// TestSplicedFramesJoinTheirMessage replaces and appends frames of a message that
// somebody else began.
func TestSplicedFramesJoinTheirMessage(t *testing.T) {
	f := threeFrames(t)
	o, err := newOpener(countUp(1, dataKeySize), f.Header())
	if err != nil {
		t.Fatal(err)
	}
	changed := someText(3*FrameSize + 7)
	copy(changed, f.text[:FrameSize])
	run := o.Splice().Run(2, 3)
	object := append(bytes.Clone(f.Header().Bytes()), f.one...)
	object = run.Seal(object, changed[FrameSize:2*FrameSize])
	object = run.Seal(object, changed[2*FrameSize:3*FrameSize])
	object = run.SealFinal(object, changed[3*FrameSize:])
	if got, err := openAll(object); err != nil || !bytes.Equal(got, changed) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestMetadata(t *testing.T) {
	s := newMessage(t)
	sealed := s.SealMetadata("xattr", []byte("secret"))
	if plain, err := s.OpenMetadata("xattr", sealed); err != nil || string(plain) != "secret" {
		t.Errorf("%q, %v", plain, err)
	}
	if again := s.SealMetadata("xattr", []byte("secret")); bytes.Equal(again[:nonceSize], sealed[:nonceSize]) {
		t.Error("an IV was used twice")
	}
	if _, err := s.OpenMetadata("other", sealed); !errors.Is(err, ErrTampered) {
		t.Errorf("under another label: %v", err)
	}
	if _, err := newMessage(t).OpenMetadata("xattr", sealed); !errors.Is(err, ErrTampered) {
		t.Errorf("of another message: %v", err)
	}
	for bit := range len(sealed) * 8 {
		changed := bytes.Clone(sealed)
		changed[bit/8] ^= 1 << (bit % 8)
		if _, err := s.OpenMetadata("xattr", changed); !errors.Is(err, ErrTampered) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
	}
	for n := range sealed {
		if _, err := s.OpenMetadata("xattr", sealed[:n]); !errors.Is(err, ErrTampered) {
			t.Fatalf("cut to %d: %v", n, err)
		}
	}
}
