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
	"unicode/utf8"
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
	suiteID       = 0x0478 // AES-256-GCM, HKDF with SHA-512, key commitment
	suiteSigned   = 0x0578 // the same with a signature
	contentWhole  = 0x01
	contentFramed = 0x02

	providerKMS = "aws-kms"
	providerPad = "kmsfs-pad"
	padInfo     = "v1"

	prefixSize = 3                                               // version and suite
	tailSize   = 1 + 4 + commitmentSize + tagSize                // what follows the EDKs
	minPad     = 2 + len(providerPad) + 2 + len(padInfo) + 2 + 1 // a pad EDK of one zero

	maxFrameLen = 64 << 20 // bytes; what Reader holds in memory, and is still willing to
)

// ErrForeign is returned for bytes that do not begin a message of suite 0478,
// or not one of the profile where only that is accepted.
var ErrForeign = errors.New("not an envelope object")

// ErrNoRoom is returned where a header cannot say all that it must.
var ErrNoRoom = errors.New("the object header has no room")

// Header is the header of a message: immutable, and proved genuine only by
// opening the message's keys.
type Header struct {
	ID       MessageID
	EDKs     []EDK // without the pad
	FrameLen int   // plaintext bytes of a regular frame

	raw     []byte            // all of it, tag included
	pad     int               // where the pad begins if it is the last EDK, else 0
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
		return nil, foreign("%d bytes are no header", len(b))
	}
	h, err := parseHeader(b[:HeaderSize])
	if err != nil {
		return nil, err
	}
	if !h.inProfile() {
		return nil, foreign("a header of %d bytes and frames of %d are not kmsfs's", h.Size(), h.FrameLen)
	}
	return h, nil
}

// errShort says that a header goes on behind the bytes at hand.
var errShort = fmt.Errorf("%w: the header is cut off", ErrForeign)

// parseHeader reads a header of any length from the beginning of b. What it
// allocates is in proportion to len(b), whatever the lengths in b say.
func parseHeader(b []byte) (*Header, error) {
	r := fields{rest: b}
	h := &Header{}
	version, suite := r.u8(), r.u16()
	copy(h.ID[:], r.take(len(h.ID)))
	context := r.sized()
	n := int(r.u16())
	for i := 1; i <= n && !r.short; i++ {
		at := len(b) - len(r.rest)
		e := EDK{Provider: string(r.sized()), Info: string(r.sized()), Blob: bytes.Clone(r.sized())}
		if e.Provider != providerPad {
			h.EDKs = append(h.EDKs, e)
		} else if i == n && e.Info == padInfo && len(e.Blob) > 0 && !slices.ContainsFunc(e.Blob, func(c byte) bool { return c != 0 }) {
			h.pad = at
		}
	}
	kind, frame := r.u8(), r.u32()
	r.take(commitmentSize + tagSize)

	pairs, ok := parseContext(context)
	switch {
	case version == 0x01 && suite>>8 == 0x80:
		return nil, foreign("a message of format 1 of the AWS Encryption SDK, which does not commit to its key")
	case version == formatVersion && suite == suiteSigned:
		return nil, foreign("a signed message of the AWS Encryption SDK (suite 0578)")
	case version != formatVersion || suite != suiteID:
		return nil, foreign("it does not begin with 02 04 78")
	case !ok:
		return nil, foreign("its encryption context is malformed")
	case r.short:
		return nil, errShort
	case n == 0:
		return nil, foreign("it has no data key")
	case kind == contentWhole:
		return nil, foreign("a message of the AWS Encryption SDK whose content is not framed")
	case kind != contentFramed:
		return nil, foreign("its kind of content is not known")
	case frame == 0 || frame > maxFrameLen:
		return nil, foreign("it has frames of %d bytes; 1 to %d can be read", frame, maxFrameLen)
	}
	h.context, h.FrameLen = pairs, int(frame)
	h.raw = bytes.Clone(b[:len(b)-len(r.rest)])
	return h, nil
}

// foreign says what was found instead of an envelope object.
func foreign(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrForeign, fmt.Sprintf(format, args...))
}

// parseContext reads the pairs of an encryption context. Every writer makes
// them distinct; older ones did not sort them by bytes.
func parseContext(b []byte) (pairs map[string]string, ok bool) {
	pairs = map[string]string{}
	if len(b) == 0 {
		return pairs, true
	}
	r := fields{rest: b}
	n := int(r.u16())
	for i := 0; i < n && !r.short; i++ {
		k, v := string(r.sized()), string(r.sized())
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, false // KMS could not be told of it
		}
		pairs[k] = v
	}
	return pairs, !r.short && len(r.rest) == 0 && len(pairs) == n
}

// appendContext appends the serialized form of pairs, without its length.
func appendContext(b []byte, pairs map[string]string) []byte {
	if len(pairs) == 0 {
		return b
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(pairs)))
	for _, k := range slices.SortedFunc(maps.Keys(pairs), cmp.Compare[string]) {
		b = appendSized(appendSized(b, k), pairs[k])
	}
	return b
}

func appendSized[T string | []byte](b []byte, field T) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(field))), field...)
}

// buildHeader makes the one header of a message. The pad fills it to
// HeaderSize; where there is no room for that the error names the remedy.
func buildHeader(id MessageID, pairs map[string]string, edks []EDK, keys derived) (*Header, error) {
	raw := make([]byte, 0, HeaderSize)
	raw = append(raw, formatVersion)
	raw = binary.BigEndian.AppendUint16(raw, suiteID)
	raw = append(raw, id[:]...)
	raw = appendSized(raw, appendContext(nil, pairs))
	raw = binary.BigEndian.AppendUint16(raw, uint16(len(edks)+1))
	for _, e := range edks {
		raw = appendSized(appendSized(appendSized(raw, e.Provider), e.Info), e.Blob)
	}
	room := HeaderSize - tailSize - len(raw)
	if room < minPad {
		return nil, fmt.Errorf("%w: it is %d bytes too long; name fewer --envelope-key-id, "+
			"shorten the --encryption-context or, with --context-scope=object, the path", ErrNoRoom, minPad-room)
	}
	raw = appendPad(raw, room)
	raw = append(raw, contentFramed)
	raw = binary.BigEndian.AppendUint32(raw, FrameSize)
	raw = append(raw, keys.commitment[:]...)
	return parseHeader(keys.content.Seal(raw, zeroIV[:], nil, raw))
}

// appendPad appends the pad EDK, n bytes in all.
func appendPad(b []byte, n int) []byte {
	return appendSized(appendSized(appendSized(b, providerPad), padInfo), make([]byte, n-minPad+1))
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
// and pad. Only headers of the profile that end in a pad have a compact form,
// as all that kmsfs wrote; for others it returns nil.
func (h *Header) Compact() []byte {
	if h.pad == 0 || !h.inProfile() {
		return nil
	}
	return slices.Concat(h.raw[prefixSize:h.pad], h.raw[HeaderSize-tailSize:])
}

// ExpandHeader is the inverse of Compact. Its result is as little to be trusted
// as any header before its keys are opened.
func ExpandHeader(compact []byte) (*Header, error) {
	room := HeaderSize - prefixSize - len(compact)
	if len(compact) < tailSize || room < minPad {
		return nil, foreign("%d bytes are no compact header", len(compact))
	}
	front, tail := compact[:len(compact)-tailSize], compact[len(compact)-tailSize:]
	raw := binary.BigEndian.AppendUint16([]byte{formatVersion}, suiteID)
	h, err := ParseHeader(append(appendPad(append(raw, front...), room), tail...))
	if err != nil {
		return nil, err
	}
	if h.pad == 0 {
		return nil, foreign("its compact header is malformed")
	}
	return h, nil
}

// fields takes fields off a slice; short says that one went beyond its end. From
// then on all are empty.
type fields struct {
	rest  []byte
	short bool
}

func (f *fields) take(n int) []byte {
	if f.short = f.short || n > len(f.rest); f.short {
		return nil
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

// uint takes a number of n bytes.
func (f *fields) uint(n int) (v uint32) {
	for _, c := range f.take(n) {
		v = v<<8 | uint32(c)
	}
	return v
}

func (f *fields) u8() byte    { return byte(f.uint(1)) }
func (f *fields) u16() uint16 { return uint16(f.uint(2)) }
func (f *fields) u32() uint32 { return f.uint(4) }

// sized takes a field that its length precedes.
func (f *fields) sized() []byte { return f.take(int(f.u16())) }
