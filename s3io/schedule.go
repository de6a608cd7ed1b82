package s3io

import (
	"fmt"

	"github.com/kmsfs/kmsfs/crypto"
)

// S3's limits of multipart uploads and objects:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
const (
	minPart   = 5 << 20            // bytes of every part but the last
	maxPart   = 5 << 30            // bytes of any part, single PUT or single copy
	maxParts  = 10_000             // part numbers are 1 to maxParts
	maxObject = 50_000_000_000_000 // bytes of an object
)

// The same limits for the content of what is sealed. Parts but the last are
// whole frames, with room for the header, which the first one has, and for an
// empty final frame; minPart is whole frames, and sealing makes it larger.
const (
	maxSealedPart   = (maxPart - crypto.MinSealedSize) / crypto.Stride * frameSize
	maxSealedObject = (maxObject - crypto.MinSealedSize) / crypto.Stride * frameSize
)

// A schedule says how much of a file each part of an upload has. It depends on
// the part number alone, because nobody says beforehand how long a file will be.
// Parts are small while memory can hold them (the first 10 GiB), and grow fast
// from there: 50 TB in 10,000 parts leave room for fewer than 700 parts that are
// much below the maximum.
type schedule struct {
	fixed  int64 // bytes of every part; 0 is the table
	sealed bool  // parts are sealed before they are sent
}

// steps is the table of the schedule; after its last row every part has the
// most that there can be.
var steps = [...]struct {
	parts int32
	size  int64
}{
	{64, 8 << 20},    // to 512 MiB
	{224, 16 << 20},  // to 4 GiB
	{192, 32 << 20},  // to 10 GiB
	{36, 64 << 20},   // to 12 GiB
	{36, 128 << 20},  // to 17 GiB
	{36, 256 << 20},  // to 26 GiB
	{36, 512 << 20},  // to 44 GiB
	{36, 1024 << 20}, // to 80 GiB
	{36, 2048 << 20}, // to 152 GiB
}

// newSchedule returns the schedule for parts of fixed bytes, or the table for
// 0. Parts that are sealed become whole frames. The error for a size that S3
// does not take names the limits.
func newSchedule(fixed int64, sealed bool) (schedule, error) {
	if fixed != 0 && (fixed < minPart || fixed > maxPart) {
		return schedule{}, fmt.Errorf("part size of %d bytes: S3 takes parts of %d to %d bytes (5 MiB to 5 GiB)",
			fixed, int64(minPart), int64(maxPart))
	}
	s := schedule{fixed: fixed, sealed: sealed}
	if sealed {
		s.fixed = min(fixed-fixed%frameSize, maxSealedPart)
	}
	return s, nil
}

// most returns the most bytes of a file that one part can have.
func (s schedule) most() int64 {
	if s.sealed {
		return maxSealedPart
	}
	return maxPart
}

// size returns the bytes of part n, 1 <= n <= maxParts.
func (s schedule) size(n int32) int64 {
	if s.fixed != 0 {
		return s.fixed
	}
	for _, step := range steps {
		if n <= step.parts {
			return step.size
		}
		n -= step.parts
	}
	return s.most()
}

// limit returns the largest file that can be written when the first n parts
// take used bytes.
func (s schedule) limit(n int32, used int64) int64 {
	left, object := int64(maxParts-n), int64(maxObject)
	if s.sealed {
		left, object = left-1, maxSealedObject // the last part may be an empty final frame
	}
	if s.fixed != 0 {
		return min(object, used+left*s.fixed)
	}
	for _, step := range steps {
		k := max(0, step.parts-n)
		n = max(0, n-step.parts)
		used += int64(k) * step.size
		left -= int64(k)
	}
	return min(object, used+left*s.most())
}

// Copying a base into an append is split so that the server copies in
// parallel, in pieces that never leave less room than the table does.
const (
	copyPiece  = 128 << 20
	copyPieces = 480 // the table's parts up to here are smaller than any piece
)

// split returns into how many parts n bytes of a base (at least minPart) are
// copied; pieceOf says which bytes each is.
func (s schedule) split(n int64) int32 {
	k := min(n/max(copyPiece, s.fixed), copyPieces)
	return int32(max(k, 1, (n+s.most()-1)/s.most()))
}

// pieceOf says which bytes piece i (from 0) is, if the first size bytes of a file are
// copied in k pieces of whole units that differ by one at most.
func pieceOf(size, unit int64, k, i int32) (from, to int64) {
	units := size / unit
	return units * int64(i) / int64(k) * unit, units * int64(i+1) / int64(k) * unit
}
