package s3io

import (
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kmsfs/kmsfs/crypto"
)

// storedPart returns the bytes in the object of a part that has n bytes of the
// file.
func storedPart(s schedule, n int64, first, last bool) int64 {
	if !s.sealed {
		return n
	}
	stored := n / frameSize * crypto.Stride
	if first {
		stored += crypto.HeaderSize
	}
	if last {
		stored += crypto.FinalOverhead + n%frameSize
	}
	return stored
}

func TestScheduleReaches50TB(t *testing.T) {
	for _, s := range []schedule{{}, {sealed: true}} {
		sum, prev := new(big.Int), int64(0)
		for n := int32(1); n <= maxParts; n++ {
			size := s.size(n)
			if s.sealed && size%frameSize != 0 {
				t.Fatalf("part %d of %d bytes is not whole frames", n, size)
			}
			stored := storedPart(s, size, n == 1, true)
			if stored < minPart || stored > maxPart || size < prev {
				t.Fatalf("part %d has %d bytes after one of %d", n, stored, prev)
			}
			if sum.Cmp(big.NewInt(10<<30)) < 0 && (size < 8<<20 || size > 32<<20) {
				t.Fatalf("part %d begins at %v and has %d bytes: memory should hold it", n, sum, size)
			}
			sum.Add(sum, big.NewInt(storedPart(s, size, n == 1, false)))
			prev = size
		}
		if sum.Cmp(big.NewInt(maxObject)) < 0 {
			t.Fatalf("%d parts hold %v bytes, less than 50 TB", maxParts, sum)
		}
		want := int64(maxObject)
		if s.sealed {
			want = maxSealedObject
		}
		if got := s.limit(0, 0); got != want {
			t.Fatalf("limit is %d, want %d", got, want)
		}
	}
	if n := crypto.SealedSize(maxSealedObject); n > maxObject || n < maxObject-crypto.Stride {
		t.Fatalf("the largest sealed object has %d bytes of %d", n, int64(maxObject))
	}
}

// drawSchedule draws one of any kind, as newSchedule makes it.
func drawSchedule(t *rapid.T) schedule {
	var fixed int64
	if rapid.Bool().Draw(t, "fixed") {
		fixed = rapid.OneOf(rapid.Int64Range(minPart, maxPart), rapid.SampledFrom([]int64{minPart, minPart + 1, maxPart - 1, maxPart})).Draw(t, "size")
	}
	s, err := newSchedule(fixed, rapid.Bool().Draw(t, "sealed"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScheduleLimitIsTheSumOfItsParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		if first := storedPart(s, s.size(1), true, true); first < minPart || first > maxPart {
			t.Fatalf("the only part can have %d bytes", first)
		}
		parts, most := int32(maxParts), int64(maxObject)
		if s.sealed { // the last one may be needed for the final frame alone
			parts, most = maxParts-1, maxSealedObject
		}
		n := rapid.Int32Range(0, parts).Draw(t, "taken")
		used := rapid.Int64Range(0, most).Draw(t, "used")
		want := big.NewInt(used)
		for i := n + 1; i <= parts; i++ {
			want.Add(want, big.NewInt(s.size(i)))
		}
		if m := big.NewInt(most); want.Cmp(m) > 0 {
			want = m
		}
		if got := s.limit(n, used); big.NewInt(got).Cmp(want) != 0 {
			t.Fatalf("limit(%d, %d) of %+v is %d, want %v", n, used, s, got, want)
		}
	})
}

func (s schedule) unit() int64 {
	if s.sealed {
		return frameSize
	}
	return 1
}

func TestScheduleSplitsABase(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		most := s.limit(0, 0)
		n := rapid.OneOf(
			rapid.Int64Range(minPart, most),
			rapid.Int64Range(minPart, min(most, 1<<30)),
			rapid.SampledFrom([]int64{minPart, minPart + 1, maxPart - 1, maxPart, maxPart + 1, most}),
		).Draw(t, "bytes")
		if s.sealed {
			n -= n % frameSize
		}
		k := s.split(n)
		if k < 1 || k > maxParts {
			t.Fatalf("split(%d) is %d parts", n, k)
		}
		var end int64
		for i := range k {
			from, to := pieceOf(n, s.unit(), k, i)
			if stored := storedPart(s, to-from, i == 0, false); from != end || to-from < minPart || stored > maxPart {
				t.Fatalf("piece %d of %d of %d bytes is [%d,%d) after %d", i, k, n, from, to, end)
			}
			end = to
		}
		if end != n {
			t.Fatalf("pieces end at %d of %d bytes", end, n)
		}
		// An object that grows by appends reaches (nearly, for the parts of a
		// base that is smaller than one part) what one stream reaches.
		if got, want := s.limit(k, n), s.limit(0, 0); got < want-max(s.fixed, 8<<20) {
			t.Fatalf("over a base of %d bytes in %d parts the limit is %d, without %d", n, k, got, want)
		}
	})
}

func TestSchedulePartSizeRangeNamesTheLimits(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		for _, size := range []int64{1, minPart - 1, maxPart + 1, -1} {
			_, err := newSchedule(size, sealed)
			if err == nil || !strings.Contains(err.Error(), "5 MiB to 5 GiB") {
				t.Errorf("newSchedule(%d): %v", size, err)
			}
		}
		for _, size := range []int64{0, minPart, maxPart} {
			if _, err := newSchedule(size, sealed); err != nil {
				t.Errorf("newSchedule(%d): %v", size, err)
			}
		}
	}
}
