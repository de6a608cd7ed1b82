package crypto

import (
	"bytes"
	"cmp"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// MessageID names one message: all its keys are derived with it. It is random
// and made anew for every full write of an object.
type MessageID [32]byte

// EDK is an encrypted data key as a header carries it.
type EDK struct {
	Provider string // "aws-kms" for those of KMS
	Info     string // ARN of the KMS key
	Blob     []byte // KMS's ciphertext of the data key
}

// What a header says of itself, and the provider ids that occur in it.
const (
	formatVersion = 0x02
	suiteID       = 0x0478
	contentFramed = 0x02

	providerKMS = "aws-kms"
	providerPad = "kmsfs-pad"
	padInfo     = "v1"

	prefixSize = 3                                           // version and suite
	tailSize   = 1 + 4 + commitmentSize + tagSize            // what follows the EDKs
	padFrame   = 2 + len(providerPad) + 2 + len(padInfo) + 2 // of the pad EDK, without its zeros
)

// ErrForeign is returned for bytes that do not begin a message of suite 0478,
// or not one of the profile where only that is accepted.
var ErrForeign = errors.New("not an envelope object")

// Header is the header of a message: immutable, and proved genuine only by
// opening the message's keys.
type Header struct {
	ID       MessageID
	EDKs     []EDK // without the pad
	FrameLen int   // plaintext bytes of a regular frame

	raw     []byte            // all of it, tag included
	context map[string]string // encryption context
}

// Context returns the encryption context, which is the caller's to keep.
func (h *Header) Context() map[string]string { return maps.Clone(h.context) }

// Size returns the bytes that the header has in the object.
func (h *Header) Size() int { return len(h.raw) }

// Bytes returns the header as it is in the object. It must not be changed.
func (h *Header) Bytes() []byte { return h.raw }

// Equal reports whether two headers are the same bytes.
func (h *Header) Equal(o *Header) bool {
	if h == nil || o == nil {
		return h == o
	}
	return bytes.Equal(h.raw, o.raw)
}

func (h *Header) commitment() []byte {
	return h.raw[len(h.raw)-tagSize-commitmentSize : len(h.raw)-tagSize]
}

// body is what the tag authenticates.
func (h *Header) body() []byte { return h.raw[:len(h.raw)-tagSize] }
func (h *Header) tag() []byte  { return h.raw[len(h.raw)-tagSize:] }

// inProfile reports whether the message is one that kmsfs writes.
func (h *Header) inProfile() bool { return len(h.raw) == HeaderSize && h.FrameLen == FrameSize }

// ParseHeader reads the header of an object, of which b holds at least the
// first HeaderSize bytes. ErrForeign says that it is not of the profile. b is
// not kept.
func ParseHeader(b []byte) (*Header, error) {
	if len(b) < HeaderSize {
		return nil, fmt.Errorf("%w: %d bytes are no header", ErrForeign, len(b))
	}
	h, err := parseHeader(b[:HeaderSize])
	if err != nil {
		return nil, err
	}
	if !h.inProfile() {
		return nil, fmt.Errorf("%w: header of %d bytes and frames of %d are not kmsfs's", ErrForeign, h.Size(), h.FrameLen)
	}
	return h, nil
}

// errShort says that a header goes on behind the bytes at hand.
var errShort = fmt.Errorf("%w: the header is cut off", ErrForeign)

// parseHeader reads a header of any length from the beginning of b. It
// allocates no more than len(b), whatever the lengths in b say.
func parseHeader(b []byte) (*Header, error) {
	r := reader{rest: b}
	h := &Header{}
	if v, s := r.bytes(1), r.u16(); r.short || v[0] != formatVersion || s != suiteID {
		return nil, fmt.Errorf("%w: it does not begin with 02 04 78", ErrForeign)
	}
	copy(h.ID[:], r.bytes(len(h.ID)))
	var err error
	if h.context, err = parseContext(r.bytes(int(r.u16()))); err != nil {
		return nil, err
	}
	n := int(r.u16())
	if n == 0 && !r.short {
		return nil, fmt.Errorf("%w: it has no data key", ErrForeign)
	}
	for range n {
		e := EDK{Provider: string(r.bytes(int(r.u16()))), Info: string(r.bytes(int(r.u16()))), Blob: bytes.Clone(r.bytes(int(r.u16())))}
		if r.short {
			return nil, errShort
		}
		if e.Provider != providerPad {
			h.EDKs = append(h.EDKs, e)
		}
	}
	kind := r.bytes(1)
	frame := r.u32()
	r.bytes(commitmentSize + tagSize)
	switch {
	case r.short:
		return nil, errShort
	case kind[0] != contentFramed:
		return nil, fmt.Errorf("%w: its content is not framed", ErrForeign)
	case frame == 0:
		return nil, fmt.Errorf("%w: it has frames of no bytes", ErrForeign)
	}
	h.FrameLen = int(frame)
	h.raw = bytes.Clone(b[:len(b)-len(r.rest)])
	return h, nil
}

// parseContext reads the pairs of an encryption context, which are sorted and
// distinct in every message that an Encryption SDK wrote.
func parseContext(b []byte) (map[string]string, error) {
	pairs := map[string]string{}
	if len(b) == 0 {
		return pairs, nil
	}
	r := reader{rest: b}
	last := ""
	for i := range int(r.u16()) {
		k, v := string(r.bytes(int(r.u16()))), string(r.bytes(int(r.u16())))
		if r.short || i > 0 && k <= last {
			return nil, fmt.Errorf("%w: its encryption context is malformed", ErrForeign)
		}
		pairs[k], last = v, k
	}
	if len(r.rest) > 0 || len(pairs) == 0 {
		return nil, fmt.Errorf("%w: its encryption context is malformed", ErrForeign)
	}
	return pairs, nil
}

// appendContext appends the serialized form of pairs, without its length.
func appendContext(b []byte, pairs map[string]string) []byte {
	if len(pairs) == 0 {
		return b
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(pairs)))
	for _, k := range slices.SortedFunc(maps.Keys(pairs), cmp.Compare[string]) {
		b = appendField(appendField(b, k), pairs[k])
	}
	return b
}

func appendField[T string | []byte](b []byte, field T) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(field))), field...)
}

// buildHeader makes the one header of a message. The pad fills it to
// HeaderSize; where there is no room for that the error names the remedy.
func buildHeader(id MessageID, pairs map[string]string, edks []EDK, keys derived) (*Header, error) {
	raw := make([]byte, 0, HeaderSize)
	raw = append(raw, formatVersion)
	raw = binary.BigEndian.AppendUint16(raw, suiteID)
	raw = append(raw, id[:]...)
	raw = appendField(raw, appendContext(nil, pairs))
	raw = binary.BigEndian.AppendUint16(raw, uint16(len(edks)+1))
	for _, e := range edks {
		raw = appendField(appendField(appendField(raw, e.Provider), e.Info), e.Blob)
	}
	pad := HeaderSize - tailSize - padFrame - len(raw)
	if pad < 1 {
		return nil, fmt.Errorf("the object header is %d bytes too long: name fewer --envelope-key-id, or shorten the --encryption-context", 1-pad)
	}
	raw = appendField(appendField(appendField(raw, providerPad), padInfo), make([]byte, pad))
	raw = append(raw, contentFramed)
	raw = binary.BigEndian.AppendUint32(raw, FrameSize)
	raw = append(raw, keys.commitment[:]...)
	raw = keys.content.Seal(raw, zeroIV[:], nil, raw)
	return &Header{ID: id, EDKs: edks, FrameLen: FrameSize, raw: raw, context: maps.Clone(pairs)}, nil
}

// zeroIV seals headers and nothing else: frames count from 1.
var zeroIV [nonceSize]byte

// proves reports whether keys are those that the header was made under.
func (h *Header) proves(keys derived) bool {
	if subtle.ConstantTimeCompare(keys.commitment[:], h.commitment()) != 1 {
		return false
	}
	_, err := keys.content.Open(nil, zeroIV[:], h.tag(), h.body())
	return err == nil
}

// Compact returns the header without what ExpandHeader knows: version, suite
// and pad. Only headers of the profile have a compact form; others return nil.
func (h *Header) Compact() []byte {
	pad := h.padAt()
	if pad == 0 {
		return nil
	}
	out := bytes.Clone(h.raw[prefixSize:pad])
	return append(out, h.raw[HeaderSize-tailSize:]...)
}

// padAt returns where the pad EDK of a header that kmsfs made begins, 0 where
// there is none such.
func (h *Header) padAt() int {
	if !h.inProfile() {
		return 0
	}
	at := prefixSize + len(h.ID) + 2 + len(appendContext(nil, h.context)) + 2
	for _, e := range h.EDKs {
		at += 6 + len(e.Provider) + len(e.Info) + len(e.Blob)
	}
	if at > HeaderSize-tailSize-padFrame-1 || !bytes.Equal(h.raw[at:HeaderSize-tailSize], padEDK(HeaderSize-tailSize-at)) {
		return 0
	}
	return at
}

// padEDK returns the pad EDK of n bytes in all.
func padEDK(n int) []byte {
	return appendField(appendField(appendField(make([]byte, 0, n), providerPad), padInfo), make([]byte, n-padFrame))
}

// ExpandHeader is the inverse of Compact. Its result is as little to be trusted
// as any header before its keys are opened.
func ExpandHeader(compact []byte) (*Header, error) {
	room := HeaderSize - prefixSize - len(compact)
	if len(compact) < tailSize || room < padFrame+1 {
		return nil, fmt.Errorf("%w: %d bytes are no compact header", ErrForeign, len(compact))
	}
	raw := binary.BigEndian.AppendUint16([]byte{formatVersion}, suiteID)
	raw = append(raw, compact[:len(compact)-tailSize]...)
	raw = append(raw, padEDK(room)...)
	raw = append(raw, compact[len(compact)-tailSize:]...)
	h, err := ParseHeader(raw)
	if err == nil && h.padAt() == 0 {
		err = fmt.Errorf("%w: its compact header is malformed", ErrForeign)
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

// reader takes fields off a slice; short says that one went beyond its end.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) bytes(n int) []byte {
	if r.short || n > len(r.rest) {
		r.short = true
		return make([]byte, min(n, 4)) // for the fixed fields of a caller that looks at short later
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u16() uint16 {
	if b := r.bytes(2); !r.short {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.bytes(4); !r.short {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}
