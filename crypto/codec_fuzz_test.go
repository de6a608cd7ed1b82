package crypto

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// fuzzed is a message that is the same in every process that fuzzes.
func fuzzed(f *testing.F) frames {
	return framesOf(fixedMessage(f, countUp(1, dataKeySize), MessageID(countUp(3, 32)), someContext(), someEDK()))
}

// FuzzParseHeader wants of every header that is accepted that it is written
// again as it was read.
func FuzzParseHeader(f *testing.F) {
	f.Add(fuzzed(f).Header().Bytes())
	f.Add(exactly(someEDK()))
	f.Add(exactly(someEDK(), EDK{providerPad, padInfo, []byte{0}}))
	f.Add(bytes.Repeat([]byte{2, 4, 0x78}, 400))
	f.Fuzz(func(t *testing.T, b []byte) {
		checkParsed(t, b, ParseHeader)
		h := checkParsed(t, b, parseHeader)
		if _, err := ParseHeader(b); err == nil && (h == nil || h.Size() != HeaderSize) {
			t.Error("the profile accepts what the format does not")
		}
	})
}

func checkParsed(t *testing.T, b []byte, parse func([]byte) (*Header, error)) *Header {
	input := bytes.Clone(b)
	h, err := parse(b)
	if err != nil {
		if !errors.Is(err, ErrForeign) || h != nil {
			t.Errorf("%v, want ErrForeign", err)
		}
		return nil
	}
	if !bytes.Equal(h.Bytes(), input[:h.Size()]) || !bytes.Equal(b, input) {
		t.Error("the header is not what was read")
	}
	if again := encodeHeader(h); sorted(h) && !padsWithin(h) && !bytes.Equal(again, h.Bytes()) {
		t.Errorf("written again it is\n%x, not\n%x", again, h.Bytes())
	}
	if compact := h.Compact(); compact != nil {
		if back, err := ExpandHeader(compact); err != nil || !back.Equal(h) {
			t.Errorf("expanded from its compact form it is another: %v", err)
		}
	}
	return h
}

// sorted reports whether the context is as every writer should put it.
func sorted(h *Header) bool {
	want := appendSized(nil, appendContext(nil, h.context))
	return bytes.Equal(h.Bytes()[35:][:len(want)], want)
}

// padsWithin reports whether there is a pad elsewhere than at the end.
func padsWithin(h *Header) bool {
	at := 37 + int(h.Bytes()[35])<<8 + int(h.Bytes()[36])
	n := int(h.Bytes()[at])<<8 + int(h.Bytes()[at+1])
	if h.pad > 0 {
		n--
	}
	return n != len(h.EDKs)
}

// FuzzExpandHeader wants of every compact header that is accepted that it is the
// compact form of what it became.
func FuzzExpandHeader(f *testing.F) {
	f.Add(fuzzed(f).Header().Compact())
	h, err := ParseHeader(exactly(EDK{providerPad, padInfo, []byte{0}}, someEDK(), EDK{providerPad, padInfo, []byte{0}}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(h.Compact())
	f.Fuzz(func(t *testing.T, compact []byte) {
		h, err := ExpandHeader(compact)
		if err != nil {
			if !errors.Is(err, ErrForeign) || h != nil {
				t.Errorf("%v, want ErrForeign", err)
			}
			return
		}
		if !bytes.Equal(h.Compact(), compact) {
			t.Errorf("compact it is\n%x, not\n%x", h.Compact(), compact)
		}
		checkParsed(t, h.Bytes(), ParseHeader)
	})
}

// FuzzOpen wants that no frame opens but those that were sealed.
func FuzzOpen(f *testing.F) {
	m := fuzzed(f)
	f.Add(m.one, uint32(1), false)
	f.Add(m.final, uint32(3), true)
	f.Add([]byte{}, uint32(0), true)
	f.Fuzz(func(t *testing.T, frame []byte, n uint32, final bool) {
		plain, err := m.Open(nil, frame, n, final)
		switch {
		case err != nil && (!errors.Is(err, ErrTampered) || plain != nil):
			t.Errorf("%d bytes, %v", len(plain), err)
		case err == nil && !bytes.Equal(frame, m.one) && !bytes.Equal(frame, m.two) && !bytes.Equal(frame, m.final):
			t.Errorf("opened %d bytes that nobody sealed", len(frame))
		}
	})
}

// FuzzReader wants that no stream is a message but the one that was sealed, and
// that nothing comes out that did not go in.
func FuzzReader(f *testing.F) {
	key := countUp(1, dataKeySize)
	text := someText(1000)
	short := foreignMessage(key, []EDK{someEDK()}, 300, text)
	ours := sealAll(fixedMessage(f, key, MessageID(countUp(3, 32)), nil, someEDK()), text, false)
	f.Add(short)
	f.Add(ours)
	f.Add(short[:len(short)-1])
	f.Add(append(bytes.Clone(ours), 0))
	for _, v := range vectors(f) {
		f.Add([]byte(v.Ciphertext))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		plain, err := io.ReadAll(readerOf(bytes.NewReader(object), key))
		switch {
		case !bytes.HasPrefix(text, plain):
			t.Errorf("read %d bytes that nobody sealed", len(plain))
		case err == nil && !bytes.Equal(object, short) && !bytes.Equal(object, ours):
			t.Errorf("%d bytes are taken for a whole message", len(object))
		case err != nil && !errors.Is(err, ErrTampered) && !errors.Is(err, ErrForeign):
			t.Errorf("%v", err)
		}
	})
}
