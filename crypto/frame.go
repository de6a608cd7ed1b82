package crypto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// Sizes of what surrounds the ciphertext of a frame.
const (
	regularHead = 4 + nonceSize         // number, IV
	finalHead   = 4 + 4 + nonceSize + 4 // mark, number, IV, length
	finalMark   = 0xffffffff
)

// What the AAD of a frame says of its kind (AWS Encryption SDK specification,
// "message body AAD").
const (
	aadRegular = "AWSKMSEncryptionClient Frame"
	aadFinal   = "AWSKMSEncryptionClient Final Frame"
)

// ErrTampered is returned for bytes that are not what was sealed: changed,
// moved, cut off, or sealed under another key.
var ErrTampered = errors.New("authentication failed: the bytes are not what was written")

// scratch is what a frame is sealed or opened with. It is not on the stack,
// because what is passed to the cipher would be allocated there anew each time.
type scratch struct {
	aad [len(MessageID{}) + len(aadFinal) + 4 + 8]byte
	iv  [nonceSize]byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// bind fills in the AAD of frame n, of size plaintext bytes, and returns it.
func (s *scratch) bind(id *MessageID, n uint32, final bool, size int) []byte {
	kind := aadRegular
	if final {
		kind = aadFinal
	}
	b := append(s.aad[:0], id[:]...)
	b = append(b, kind...)
	b = binary.BigEndian.AppendUint32(b, n)
	return binary.BigEndian.AppendUint64(b, uint64(size))
}

// Opener opens the frames of one message. It is safe for concurrent use and
// holds the message's keys, expanded, until it is collected.
type Opener struct {
	header *Header
	keys   derived
	under  string // ARN of the KMS key that opened the data key; "" where no Keyring did
}

// newOpener derives the keys of h's message from the bytes of a data key.
// ErrTampered says that h was not made under it.
func newOpener(dk []byte, h *Header) (*Opener, error) {
	keys := derive(dk, h.ID)
	if len(dk) != dataKeySize || !h.proves(keys) {
		return nil, fmt.Errorf("header: %w", ErrTampered)
	}
	return &Opener{header: h, keys: keys}, nil
}

// Header returns the header, which is proved genuine.
func (o *Opener) Header() *Header { return o.header }

// KMSKey returns the ARN of the KMS key that opened the data key: one of those
// in the header, or of the rewrap registry. Sealers of new messages have none.
func (o *Opener) KMSKey() string { return o.under }

// Open appends the plaintext of frame n to dst and returns the result; frame
// holds exactly the sealed bytes, and final says whether it must be the final
// one. The plaintext may take the place of the ciphertext: dst[len(dst):]
// either begins where that does, or does not overlap frame. Every error is
// ErrTampered; it leaves zeros where the plaintext would be.
func (o *Opener) Open(dst, frame []byte, n uint32, final bool) ([]byte, error) {
	head := regularHead
	if final {
		head = finalHead
	}
	size := len(frame) - head - tagSize
	if size < 0 || size > o.header.FrameLen || !final && size != o.header.FrameLen || !framed(frame, n, final, size) {
		return nil, fmt.Errorf("frame %d: %w", n, ErrTampered)
	}
	iv := frame[4:regularHead]
	if final {
		iv = frame[8 : 8+nonceSize]
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	out, err := o.keys.content.Open(dst, iv, frame[head:], s.bind(&o.header.ID, n, final, size))
	if err != nil {
		return nil, fmt.Errorf("frame %d: %w", n, ErrTampered)
	}
	return out, nil
}

// framed reports whether what surrounds the ciphertext says frame n of size
// bytes.
func framed(frame []byte, n uint32, final bool, size int) bool {
	first := binary.BigEndian.Uint32(frame)
	if !final {
		return first == n && n != finalMark
	}
	return first == finalMark && binary.BigEndian.Uint32(frame[4:]) == n &&
		binary.BigEndian.Uint32(frame[8+nonceSize:]) == uint32(size)
}
