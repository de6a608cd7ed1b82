package crypto

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
)

// countUp returns n bytes that count up from first.
func countUp(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// someText returns n bytes that tell frames apart.
func someText(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8 + i>>16)
	}
	return b
}

func someEDK() EDK {
	return EDK{
		Provider: providerKMS,
		Info:     "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		Blob:     countUp(100, 184),
	}
}

func someContext() map[string]string {
	return map[string]string{"aws:s3:arn": "arn:aws:s3:::demo", "team": "blue"}
}

// newMessage begins a message under the data key countUp(1, 32).
func newMessage(t testing.TB) *Sealer {
	t.Helper()
	s, err := newSealer(countUp(1, dataKeySize), someContext(), []EDK{someEDK()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fixedMessage begins a message whose id is known, which only a test may do.
func fixedMessage(t testing.TB, dk []byte, id MessageID, pairs map[string]string, edks ...EDK) *Sealer {
	t.Helper()
	keys := derive(dk, id)
	h, err := buildHeader(id, pairs, edks, keys)
	if err != nil {
		t.Fatal(err)
	}
	return &Sealer{Opener: &Opener{header: h, keys: keys}}
}

// sealAll returns the whole object of a message: its final frame is full if
// plain can be divided so and full is true.
func sealAll(s *Sealer, plain []byte, full bool) []byte {
	n := len(plain) / FrameSize
	if full && n > 0 && len(plain)%FrameSize == 0 {
		n--
	}
	out := bytes.Clone(s.Header().Bytes())
	run := s.Run(1, int64(n)+1)
	for range n {
		out = run.Seal(out, plain[:FrameSize])
		plain = plain[FrameSize:]
	}
	return run.SealFinal(out, plain)
}

// openAll reads a whole object as a stream, under the key of newMessage.
func openAll(object []byte) ([]byte, error) {
	return io.ReadAll(readerOf(bytes.NewReader(object), countUp(1, dataKeySize)))
}

func readerOf(src io.Reader, dk []byte) *Reader {
	return NewReader(src, func(h *Header) (*Opener, error) { return newOpener(dk, h) })
}

// foreignMessage makes a message as other writers do: no pad, any frame length,
// a full final frame where the text ends with one.
func foreignMessage(dk []byte, edks []EDK, frameLen int, plain []byte) []byte {
	id := MessageID(countUp(7, len(MessageID{})))
	keys := derive(dk, id)
	raw := append([]byte{formatVersion, suiteID >> 8, suiteID & 0xff}, id[:]...)
	raw = binary.BigEndian.AppendUint16(raw, 0)
	raw = binary.BigEndian.AppendUint16(raw, uint16(len(edks)))
	for _, e := range edks {
		raw = appendSized(appendSized(appendSized(raw, e.Provider), e.Info), e.Blob)
	}
	raw = binary.BigEndian.AppendUint32(append(raw, contentFramed), uint32(frameLen))
	raw = append(raw, keys.commitment[:]...)
	raw = keys.content.Seal(raw, zeroIV[:], nil, raw)
	for n := uint32(1); ; n++ {
		iv := binary.BigEndian.AppendUint32(make([]byte, nonceSize-4), n)
		head := binary.BigEndian.AppendUint32(nil, n)
		size, final := frameLen, len(plain) <= frameLen
		if final {
			size = len(plain)
			head = binary.BigEndian.AppendUint32(nil, finalMark)
			head = binary.BigEndian.AppendUint32(head, n)
		}
		head = append(head, iv...)
		if final {
			head = binary.BigEndian.AppendUint32(head, uint32(size))
		}
		raw = append(raw, head...)
		raw = keys.content.Seal(raw, iv, plain[:size], new(scratch).bind(&id, n, final, size))
		if plain = plain[size:]; final {
			return raw
		}
	}
}
