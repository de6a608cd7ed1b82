package crypto

// The constants of the profile (see the package documentation): headers and
// frames have fixed sizes, so that the place of every byte follows from its
// offset, and the size of the plaintext from that of the object.
const (
	HeaderSize = 1024           // bytes of a header, padding included
	FrameSize  = 64 << 10       // plaintext bytes of every frame but the final one
	Stride     = FrameSize + 32 // bytes of a sealed regular frame

	// FinalOverhead is by how many bytes a sealed final frame is longer than
	// its plaintext.
	FinalOverhead = 40

	// MinSealedSize is the size of an object that holds an empty file.
	MinSealedSize = HeaderSize + FinalOverhead
)

// Bounds of the format: frame numbers are 32 bits and the last one is the mark
// of final frames.
const (
	maxFrames    = 1<<32 - 2
	MaxPlainSize = int64(maxFrames-1) * FrameSize // bytes; far above what S3 stores
)

// SealedSize returns the size of the object that holds plain bytes (0 and more)
// and whose final frame is not full: what a writer makes that does not hold
// bytes back.
func SealedSize(plain int64) int64 {
	return HeaderSize + plain/FrameSize*Stride + FinalOverhead + plain%FrameSize
}

// PlainSize returns the size of the plaintext of an object of sealed bytes;
// ok is false if no message of the profile has that size.
func PlainSize(sealed int64) (plain int64, ok bool) {
	if sealed < MinSealedSize {
		return 0, false
	}
	n, r := (sealed-MinSealedSize)/Stride, (sealed-MinSealedSize)%Stride
	if r > FrameSize || n >= maxFrames {
		return 0, false
	}
	return n*FrameSize + r, true
}

// FrameAt returns the number of the frame that holds the plaintext byte at
// off. Frames count from 1.
func FrameAt(off int64) uint32 { return uint32(off/FrameSize) + 1 }

// FrameOffset returns where frame n begins in the object.
func FrameOffset(n uint32) int64 { return HeaderSize + int64(n-1)*Stride }

// FinalFrame returns the number of the final frame of an object of sealed
// bytes, which PlainSize accepts.
func FinalFrame(sealed int64) uint32 {
	return uint32((sealed-MinSealedSize)/Stride) + 1
}
