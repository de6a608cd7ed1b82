package s3

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"math/bits"
	"net/http"
	"strings"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html

const (
	fullObject = "FULL_OBJECT"
	composite  = "COMPOSITE"

	// defaultChecksum is what S3 computes where the client names none.
	defaultChecksum = "CRC64NVME"

	checksumPrefix = "X-Amz-Checksum-"

	// nvme is the reversed polynomial of CRC-64/NVME.
	nvme = 0x9a6c9329ac4bc9b5
)

// algorithms are in the order in which their elements appear in XML answers.
var algorithms = [...]string{"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"}

// newHash returns the hash of a checksum algorithm, or nil if S3 has none of that name.
func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "CRC32":
		return crc32.NewIEEE()
	case "CRC32C":
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case "CRC64NVME":
		return crc64.New(crc64.MakeTable(nvme))
	case "SHA1":
		return sha1.New()
	case "SHA256":
		return sha256.New()
	}
	return nil
}

// A claim is the checksum that a client announces for a body.
type claim struct {
	algorithm string
	value     string // base64; "" if it follows in a trailer
	made      bool   // false: the client announced none
}

// claimed finds the checksum that the request's headers give or announce.
func claimed(h http.Header) (claim, error) {
	var found []claim
	for _, name := range algorithms {
		if v := h.Get(checksumPrefix + name); v != "" {
			found = append(found, claim{name, v, true})
		}
	}
	for trailer := range strings.SplitSeq(h.Get("X-Amz-Trailer"), ",") {
		name, ok := strings.CutPrefix(strings.ToUpper(strings.TrimSpace(trailer)), strings.ToUpper(checksumPrefix))
		if !ok {
			continue
		}
		if newHash(name) == nil {
			return claim{}, invalidRequest("The value specified in the x-amz-trailer header is not supported")
		}
		found = append(found, claim{algorithm: name, made: true})
	}
	switch len(found) {
	case 0:
		return claim{algorithm: defaultChecksum}, nil
	case 1:
		return found[0], nil
	}
	return claim{}, invalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

// verify compares what was announced with what was received; the trailer is there once the body was read.
func (c claim) verify(sum []byte, trailer http.Header) error {
	if !c.made {
		return nil
	}
	value := c.value
	if value == "" {
		value = trailer.Get(checksumPrefix + c.algorithm)
	}
	want, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(want) != len(sum) {
		return invalidRequest("Value for x-amz-checksum-%s header is invalid.", strings.ToLower(c.algorithm))
	}
	if !bytes.Equal(want, sum) {
		return badDigest(c.algorithm)
	}
	return nil
}

func badDigest(algorithm string) *wire.Error {
	return wire.Errorf(400, "BadDigest", "The %s you specified did not match the calculated checksum.", algorithm)
}

// set puts the checksum into the headers of an answer.
func (c checksum) set(h http.Header) {
	if c.Value != "" {
		h.Set(checksumPrefix+c.Algorithm, c.Value)
		h.Set(checksumPrefix+"Type", c.Type)
	}
}

// ofObject is the checksum of an object that came in one piece.
func ofObject(algorithm string, sum []byte) checksum {
	return checksum{algorithm, fullObject, base64.StdEncoding.EncodeToString(sum)}
}

// ofParts is the checksum of an object that consists of parts.
func ofParts(c checksum, parts []part) checksum {
	if c.Type == composite {
		h := newHash(c.Algorithm)
		for _, p := range parts {
			_, _ = h.Write(p.Checksum) // a hash never fails
		}
		c.Value = fmt.Sprintf("%s-%d", base64.StdEncoding.EncodeToString(h.Sum(nil)), len(parts))
		return c
	}
	var sum uint64
	shifts := map[int64][]uint64{} // nearly all parts are of one size
	for _, p := range parts {
		if shifts[p.Size] == nil {
			shifts[p.Size] = zeros(c.Algorithm, p.Size)
		}
		sum = apply(shifts[p.Size], sum) ^ crcValue(p.Checksum)
	}
	raw := binary.BigEndian.AppendUint64(nil, sum)
	c.Value = base64.StdEncoding.EncodeToString(raw[8-newHash(c.Algorithm).Size():])
	return c
}

func crcValue(sum []byte) (v uint64) {
	for _, b := range sum {
		v = v<<8 | uint64(b)
	}
	return v
}

// zeros returns the linear map that length zero bytes are to a CRC's remainder: the CRC of A followed by B is that of A,
// mapped by the length of B, plus that of B. The map of one bit is raised to its power by squaring.
func zeros(algorithm string, length int64) []uint64 {
	poly, width := uint64(nvme), 64
	switch algorithm {
	case "CRC32":
		poly, width = crc32.IEEE, 32
	case "CRC32C":
		poly, width = crc32.Castagnoli, 32
	}
	square, power := make([]uint64, width), make([]uint64, width)
	square[0] = poly
	for i := range power {
		power[i] = 1 << i
		if i > 0 {
			square[i] = 1 << (i - 1)
		}
	}
	for n := uint64(length) * 8; n > 0; n >>= 1 {
		if n&1 == 1 {
			power = times(square, power)
		}
		square = times(square, square)
	}
	return power
}

// times multiplies two matrices over GF(2), given by their columns.
func times(a, b []uint64) []uint64 {
	product := make([]uint64, len(b))
	for i, column := range b {
		product[i] = apply(a, column)
	}
	return product
}

// apply multiplies a matrix over GF(2), given by its columns, by a vector.
func apply(matrix []uint64, v uint64) (product uint64) {
	for ; v != 0; v &= v - 1 {
		product ^= matrix[bits.TrailingZeros64(v)]
	}
	return product
}

// hashes writes to every one of some hashes that are there.
func hashes(all ...hash.Hash) io.Writer {
	var writers []io.Writer
	for _, h := range all {
		if h != nil {
			writers = append(writers, h)
		}
	}
	return io.MultiWriter(writers...)
}
