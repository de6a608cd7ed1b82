package crypto

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// encodeHeader writes h anew from what was read of it, by the tables of doc.go:
// its pairs sorted, its pad where the data keys end.
func encodeHeader(h *Header) []byte {
	var pairs []byte
	for _, k := range slices.SortedFunc(maps.Keys(h.Context()), cmp.Compare[string]) {
		for _, field := range []string{k, h.Context()[k]} {
			pairs = append(binary.BigEndian.AppendUint16(pairs, uint16(len(field))), field...)
		}
	}
	b := append([]byte{2, 4, 0x78}, h.ID[:]...)
	if len(pairs) == 0 {
		b = append(b, 0, 0)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(2+len(pairs)))
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(h.Context()))), pairs...)
	}
	edks := h.EDKs
	if h.pad > 0 {
		zeros := len(h.Bytes()) - h.pad - tailSize - 17
		edks = append(slices.Clone(edks), EDK{"kmsfs-pad", "v1", make([]byte, zeros)})
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(edks)))
	for _, e := range edks {
		for _, field := range [][]byte{[]byte(e.Provider), []byte(e.Info), e.Blob} {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(field))), field...)
		}
	}
	b = binary.BigEndian.AppendUint32(append(b, 2), uint32(h.FrameLen))
	return append(b, bytes.Clone(h.Bytes()[len(b):])...)
}

func TestHeaderLayout(t *testing.T) {
	s := newMessage(t)
	b := s.Header().Bytes()
	if len(b) != HeaderSize || s.Header().Size() != HeaderSize {
		t.Fatalf("%d bytes", len(b))
	}
	id := s.Header().ID
	context := "\x00\x02" + "\x00\x0aaws:s3:arn" + "\x00\x11arn:aws:s3:::demo" + "\x00\x04team" + "\x00\x04blue"
	edk := someEDK()
	front := "\x02\x04\x78" + string(id[:]) + "\x00" + string(rune(len(context))) + context +
		"\x00\x02" + "\x00\x07aws-kms" + "\x00\x4b" + edk.Info + "\x00\xb8" + string(edk.Blob) +
		"\x00\x09kmsfs-pad" + "\x00\x02v1"
	zeros := HeaderSize - len(front) - 2 - 53
	front += string(binary.BigEndian.AppendUint16(nil, uint16(zeros))) + strings.Repeat("\x00", zeros)
	if got := string(b[:HeaderSize-53]); got != front {
		t.Errorf("the header begins\n%x, want\n%x", got, front)
	}
	if got, want := b[HeaderSize-53:HeaderSize-48], []byte{2, 0, 1, 0, 0}; !bytes.Equal(got, want) {
		t.Errorf("content type and frame length are %x, want %x", got, want)
	}
	if !bytes.Equal(b[HeaderSize-48:HeaderSize-16], expand(extract(countUp(1, 32), id), "COMMITKEY")) {
		t.Error("the commitment is not at its place")
	}
	if got := encodeHeader(s.Header()); !bytes.Equal(got, b) {
		t.Errorf("encoded anew it is\n%x, want\n%x", got, b)
	}
}

func TestHeaderKeepsNothingOfOthers(t *testing.T) {
	raw := bytes.Clone(newMessage(t).Header().Bytes())
	h, err := ParseHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseHeader(bytes.Clone(raw))
	if err != nil || !h.Equal(again) || h.Equal(nil) || h.Equal(newMessage(t).Header()) || !(*Header)(nil).Equal(nil) {
		t.Errorf("Equal is wrong, or %v", err)
	}
	clear(raw)
	h.Context()["team"] = "red"
	if h.Context()["team"] != "blue" || h.EDKs[0].Info != someEDK().Info || !bytes.Equal(h.EDKs[0].Blob, someEDK().Blob) || !h.Equal(again) {
		t.Error("the header changed with what it was read from")
	}
}

// TestHeaderThatDoesNotFit grows a wrapped key until there is no room for it.
func TestHeaderThatDoesNotFit(t *testing.T) {
	build := func(blob int, pairs map[string]string) error {
		_, err := newSealer(countUp(1, 32), pairs, []EDK{{providerKMS, "arn", make([]byte, blob)}})
		return err
	}
	room := HeaderSize - 3 - 32 - 2 - 2 - (2 + 7 + 2 + 3 + 2) - 18 - 53
	if err := build(room, nil); err != nil {
		t.Errorf("with a pad of one byte: %v", err)
	}
	for blob, over := range map[int]int{room + 1: 1, room + 300: 300, 1 << 16: 1<<16 - room, 1<<16 + 10: 1<<16 + 10 - room} {
		err := build(blob, nil)
		for _, part := range []string{fmt.Sprintf(" %d bytes too long", over), "--envelope-key-id", "--encryption-context", "--context-scope=object"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("blob of %d bytes: %v, want it to say %q", blob, err, part)
			}
		}
	}
	if err := build(10, map[string]string{"aws:s3:arn": strings.Repeat("x", 70000)}); err == nil {
		t.Error("a context of 70,000 bytes fits")
	}
	if err := build(10, map[string]string{"name": "\xff"}); err == nil {
		t.Error("a context that is not UTF-8 was sealed")
	}
}

// TestCompactIsInverse makes headers of any content, and takes them apart.
func TestCompactIsInverse(t *testing.T) {
	fit := 0
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringN(0, 20, 60)
		pairs := rapid.MapOfN(text, text, 0, 4).Draw(rt, "pairs")
		edks := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) EDK {
			return EDK{providerKMS, text.Draw(t, "info"), rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "blob")}
		}), 1, 3).Draw(rt, "edks")
		s, err := newSealer(countUp(1, 32), pairs, edks)
		if err != nil {
			return
		}
		fit++
		h := s.Header()
		compact := h.Compact()
		zeros := HeaderSize - h.pad - tailSize - minPad + 1
		if len(compact) != HeaderSize-3-17-zeros {
			rt.Fatalf("compact it has %d bytes, with %d zeros", len(compact), zeros)
		}
		back, err := ExpandHeader(compact)
		if err != nil || !back.Equal(h) || !maps.Equal(back.Context(), pairs) || len(back.EDKs) != len(edks) {
			rt.Fatalf("expanded it is another: %v", err)
		}
		if !bytes.Equal(encodeHeader(h), h.Bytes()) {
			rt.Fatal("encoded anew it is another")
		}
		if _, err := newOpener(countUp(1, 32), back); err != nil {
			rt.Fatal(err)
		}
	})
	if fit < 20 {
		t.Errorf("only %d headers fitted", fit)
	}
}

// exactly makes a header of HeaderSize bytes for frames of FrameSize, as another
// writer might, by the length of the last wrapped key.
func exactly(last EDK, before ...EDK) []byte {
	missing := HeaderSize - len(foreignHeader(append(before, last)...))
	last.Blob = append(make([]byte, missing), last.Blob...)
	return foreignMessage(countUp(1, 32), append(before, last), FrameSize, []byte("text"))
}

// foreignHeader is the header of another writer alone.
func foreignHeader(edks ...EDK) []byte {
	object := foreignMessage(countUp(1, 32), edks, FrameSize, nil)
	return object[:len(object)-FinalOverhead]
}

func TestCompactNeedsThePad(t *testing.T) {
	pad := EDK{providerPad, padInfo, []byte{0}}
	for what, object := range map[string][]byte{
		"no pad":            exactly(someEDK()),
		"pad in the middle": exactly(someEDK(), pad),
		"pad of version 2":  exactly(EDK{Provider: providerPad, Info: "v2"}, someEDK()),
		"pad with a text":   exactly(EDK{providerPad, padInfo, []byte("x")}, someEDK()),
	} {
		h, err := ParseHeader(object)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if compact := h.Compact(); compact != nil {
			t.Errorf("%s: compact form of %d bytes", what, len(compact))
		}
		if got, err := openAll(object); err != nil || string(got) != "text" {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	short, err := parseHeader(foreignMessage(countUp(1, 32), []EDK{someEDK(), pad}, FrameSize, nil))
	if err != nil || short.Compact() != nil {
		t.Errorf("a shorter header with a pad has a compact form, or %v", err)
	}
	rest, none := someEDK(), EDK{Provider: providerPad, Info: padInfo}
	rest.Blob = append(rest.Blob, make([]byte, HeaderSize-len(foreignHeader(rest, none)))...)
	if h, err := ParseHeader(foreignHeader(rest, none)); err != nil || h.Compact() != nil {
		t.Errorf("an empty pad has a compact form, or %v", err)
	}
	two, err := ParseHeader(exactly(pad, someEDK(), pad))
	if err != nil || len(two.EDKs) != 1 {
		t.Fatalf("two pads: %v", err)
	}
	if back, err := ExpandHeader(two.Compact()); err != nil || !back.Equal(two) {
		t.Errorf("two pads: %v", err)
	}
}

func TestExpandHeaderRefuses(t *testing.T) {
	compact := newMessage(t).Header().Compact()
	count := 32 + 2 + int(compact[33]) // where the number of wrapped keys is
	one := bytes.Clone(compact)
	one[count+1] = 1 // so that the pad is what follows the wrapped keys
	long := bytes.Clone(one)
	size := len(compact) - tailSize - 184 - 2 // of the blob, which now goes on to the end of the pad
	binary.BigEndian.PutUint16(long[size:], uint16(184+HeaderSize-prefixSize-len(compact)))
	for what, b := range map[string][]byte{
		"nothing":                       nil,
		"cut":                           compact[:len(compact)-1],
		"a byte more":                   append(bytes.Clone(compact), 0),
		"the tail alone":                compact[len(compact)-tailSize:],
		"no room":                       make([]byte, HeaderSize),
		"zeros":                         make([]byte, len(compact)),
		"too few keys":                  one,
		"a blob that has the pad in it": long,
	} {
		if _, err := ExpandHeader(b); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v, want ErrForeign", what, err)
		}
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	good := newMessage(t).Header().Bytes()
	set := func(at int, b ...byte) []byte {
		raw := bytes.Clone(good)
		copy(raw[at:], b)
		return raw
	}
	other := func(frameLen int) []byte {
		return append(foreignMessage(countUp(1, 32), []EDK{someEDK()}, frameLen, nil), make([]byte, HeaderSize)...)
	}
	for what, c := range map[string]struct {
		raw  []byte
		says string
	}{
		"nothing":         {nil, "0 bytes"},
		"a short object":  {good[:HeaderSize-1], "1023 bytes"},
		"text":            {bytes.Repeat([]byte("text"), 256), "02 04 78"},
		"zeros":           {make([]byte, HeaderSize), "02 04 78"},
		"another suite":   {set(2, 0x79), "02 04 78"},
		"signed":          {set(1, 0x05), "signed"},
		"format 1":        {set(0, 0x01, 0x80, 0x03), "format 1"},
		"unframed":        {set(HeaderSize-53, 1), "not framed"},
		"content type 3":  {set(HeaderSize-53, 3), "not known"},
		"no data key":     {append(foreignMessage(countUp(1, 32), nil, FrameSize, nil), make([]byte, HeaderSize)...), "no data key"},
		"no frame length": {set(HeaderSize-52, 0, 0, 0, 0), "frames of 0 bytes"},
		"frames of 4 GiB": {set(HeaderSize-52, 255, 255, 255, 255), "frames of 4294967295 bytes"},
		"frames of 1 MiB": {set(HeaderSize-52, 0, 16, 0, 0), "frames of 1048576"},
		"short header":    {other(FrameSize), "not kmsfs's"},
		"no room for all": {set(35, 255, 255), "cut off"},
		"context count":   {set(38, 3), "context"},
		"fewer pairs":     {set(38, 1), "context"},
		"not UTF-8":       {set(41, 255), "context"},
	} {
		if _, err := ParseHeader(c.raw); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want ErrForeign that says %q", what, err, c.says)
		}
	}
}

func TestParseContext(t *testing.T) {
	for raw, want := range map[string]map[string]string{
		"":                           {},
		"\x00\x00":                   {}, // as some old writers put it
		"\x00\x01\x00\x01a\x00\x01b": {"a": "b"},
		"\x00\x02\x00\x01b\x00\x00\x00\x01a\x00\x00": {"a": "", "b": ""}, // not sorted
		"\x00\x02\x00\x01a\x00\x00\x00\x01a\x00\x00": nil,                // twice
		"\x00\x01\x00\x01a\x00\x01":                  nil,
		"\x00\x01\x00\x01a\x00\x01b\x00":             nil,
		"\x00":                                       nil,
		"\x00\x01":                                   nil,
	} {
		if pairs, ok := parseContext([]byte(raw)); ok != (want != nil) || ok && !maps.Equal(pairs, want) {
			t.Errorf("%x: %v, %v, want %v", raw, pairs, ok, want)
		}
	}
}

// TestFlippedBitsOfHeader flips every bit of a header. What still looks like one
// does not open.
func TestFlippedBitsOfHeader(t *testing.T) {
	good := newMessage(t).Header().Bytes()
	parsed := 0
	for bit := range len(good) * 8 {
		raw := bytes.Clone(good)
		raw[bit/8] ^= 1 << (bit % 8)
		h, err := ParseHeader(raw)
		if err == nil {
			parsed++
			_, err = newOpener(countUp(1, dataKeySize), h)
		}
		if !errors.Is(err, ErrTampered) && !errors.Is(err, ErrForeign) {
			t.Fatalf("bit %d of byte %d flipped: %v", bit%8, bit/8, err)
		}
	}
	if parsed < 6000 {
		t.Errorf("only %d of the headers came to be opened", parsed)
	}
}

func TestHeaderNeedsItsKey(t *testing.T) {
	h := newMessage(t).Header()
	for what, dk := range map[string][]byte{
		"another": countUp(2, 32), "none": nil, "half": countUp(1, 16), "longer": countUp(1, 33),
	} {
		if _, err := newOpener(dk, h); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: %v, want ErrTampered", what, err)
		}
	}
	short := countUp(1, 16) // everything fits but the length of the key
	s := fixedMessage(t, short, MessageID{}, someContext(), someEDK())
	if _, err := newOpener(short, s.Header()); !errors.Is(err, ErrTampered) {
		t.Errorf("a data key of 16 bytes: %v, want ErrTampered", err)
	}
	forged := slices.Clone(h.Bytes()) // of a key with the same commitment, if there were one
	copy(forged[HeaderSize-48:], fixedMessage(t, countUp(2, 32), h.ID, someContext(), someEDK()).Header().commitment())
	f, err := ParseHeader(forged)
	if err != nil {
		t.Fatal(err)
	}
	for _, dk := range [][]byte{countUp(1, 32), countUp(2, 32)} {
		if _, err := newOpener(dk, f); !errors.Is(err, ErrTampered) {
			t.Errorf("forged commitment: %v, want ErrTampered", err)
		}
	}
}
