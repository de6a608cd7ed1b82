package s3io

import (
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestScheduleReaches50TB(t *testing.T) {
	var s schedule
	sum, prev := new(big.Int), int64(0)
	for n := int32(1); n <= maxParts; n++ {
		size := s.size(n)
		if size < minPart || size > maxPart || size < prev {
			t.Fatalf("part %d has %d bytes after one of %d", n, size, prev)
		}
		if sum.Cmp(big.NewInt(10<<30)) < 0 && (size < 8<<20 || size > 32<<20) {
			t.Fatalf("part %d begins at %v and has %d bytes: memory should hold it", n, sum, size)
		}
		sum.Add(sum, big.NewInt(size))
		prev = size
	}
	if sum.Cmp(big.NewInt(50_000_000_000_000)) < 0 {
		t.Fatalf("%d parts hold %v bytes, less than 50 TB", maxParts, sum)
	}
	if got := s.limit(0, 0); got != maxObject {
		t.Fatalf("limit is %d, want %d", got, int64(maxObject))
	}
}

func TestScheduleLimitIsTheSumOfItsParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s schedule
		if rapid.Bool().Draw(t, "fixed") {
			s.fixed = rapid.Int64Range(minPart, maxPart).Draw(t, "size")
		}
		n := rapid.Int32Range(0, maxParts).Draw(t, "taken")
		used := rapid.Int64Range(0, maxObject).Draw(t, "used")
		want := big.NewInt(used)
		for i := n + 1; i <= maxParts; i++ {
			want.Add(want, big.NewInt(s.size(i)))
		}
		if m := big.NewInt(maxObject); want.Cmp(m) > 0 {
			want = m
		}
		if got := s.limit(n, used); big.NewInt(got).Cmp(want) != 0 {
			t.Fatalf("limit(%d, %d) with fixed %d is %d, want %v", n, used, s.fixed, got, want)
		}
	})
}

func TestScheduleSplitsABase(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s schedule
		if rapid.Bool().Draw(t, "fixed") {
			s.fixed = rapid.Int64Range(minPart, maxPart).Draw(t, "size")
		}
		most := s.limit(0, 0)
		n := rapid.OneOf(
			rapid.Int64Range(minPart, most),
			rapid.Int64Range(minPart, min(most, 1<<30)),
			rapid.SampledFrom([]int64{minPart, minPart + 1, maxPart - 1, maxPart, maxPart + 1, most}),
		).Draw(t, "bytes")
		k := s.split(n)
		if k < 1 || k > maxParts {
			t.Fatalf("split(%d) is %d parts", n, k)
		}
		var end int64
		for i := range k {
			off, size := pieceOf(n, k, i)
			if off != end || size < minPart || size > maxPart {
				t.Fatalf("piece %d of %d of %d bytes is [%d,+%d) after %d", i, k, n, off, size, end)
			}
			end = off + size
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
	for _, size := range []int64{1, minPart - 1, maxPart + 1, -1} {
		_, err := newSchedule(size)
		if err == nil || !strings.Contains(err.Error(), "5 MiB to 5 GiB") {
			t.Errorf("newSchedule(%d): %v", size, err)
		}
	}
	for _, size := range []int64{0, minPart, maxPart} {
		if _, err := newSchedule(size); err != nil {
			t.Errorf("newSchedule(%d): %v", size, err)
		}
	}
}
