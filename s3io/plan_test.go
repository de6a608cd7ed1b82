package s3io

import (
	"testing"

	"pgregory.net/rapid"
)

func TestPlanCoversTheFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sealed := rapid.Bool().Draw(t, "sealed")
		p := plan{unit: 1, ends: true, sched: schedule{sealed: sealed}}
		p.size = rapid.OneOf(rapid.Int64Range(1, 1<<30), rapid.Int64Range(1, 1<<44), rapid.SampledFrom([]int64{frameSize, minPart, 1 << 40})).Draw(t, "size")
		if sealed {
			p.unit, p.tail, p.ends = frameSize, true, rapid.Bool().Draw(t, "ends")
		}
		same := upTo(p.size)
		for range rapid.IntRange(0, 300).Draw(t, "changes") {
			at := rapid.Int64Range(0, p.size).Draw(t, "at")
			same = same.minus(spans{{at, at + rapid.Int64Range(1, 20<<20).Draw(t, "bytes")}})
		}
		pieces := p.pieces(same)
		if len(pieces) > maxParts {
			t.Fatalf("%d parts", len(pieces))
		}
		var at int64
		for i, x := range pieces {
			last := i == len(pieces)-1
			n := x.to - x.from
			if x.from != at || n < 0 || n > maxPart || !last && n < minPart {
				t.Fatalf("part %d of %d has [%d,%d) after %d", i+1, len(pieces), x.from, x.to, at)
			}
			if x.from%p.unit != 0 || !last && x.to%p.unit != 0 {
				t.Fatalf("part %d has [%d,%d), units are %d", i+1, x.from, x.to, p.unit)
			}
			if x.copied && !same.covers(x.from, x.to) {
				t.Fatalf("part %d copies [%d,%d), which changed", i+1, x.from, x.to)
			}
			if x.final != (last && (!x.copied || p.ends)) {
				t.Fatalf("part %d of %d is final: %v", i+1, len(pieces), x.final)
			}
			at = x.to
		}
		if at != p.size || sealed && !pieces[len(pieces)-1].final {
			t.Fatalf("the parts end at %d of %d", at, p.size)
		}
	})
}

// TestPlanSendsLittle: what is sent around a small change is one part's minimum.
func TestPlanSendsLittle(t *testing.T) {
	const size = 1 << 30
	for _, at := range []int64{0, 4096, minPart - 1, minPart, 500 << 20, size - minPart, size - 4096} {
		for _, unit := range []int64{1, frameSize} {
			p := plan{size: size, unit: unit, ends: true, tail: unit > 1}
			parts := p.pieces(upTo(size).minus(spans{{at, at + 4096}}))
			if n := sent(parts); n > 2*minPart {
				t.Errorf("%d bytes are sent for a change at %d: %v", n, at, parts)
			}
		}
	}
}

func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 60
		draw := func(name string) (s spans, set [most]bool) {
			for range rapid.IntRange(0, 8).Draw(t, name) {
				from := rapid.Int64Range(0, most-1).Draw(t, "from")
				to := rapid.Int64Range(from, most).Draw(t, "to")
				s = s.add(from, to)
				for i := from; i < to; i++ {
					set[i] = true
				}
			}
			return s, set
		}
		back := func(s spans) (set [most]bool) {
			var last int64 = -1
			for _, x := range s {
				if x.from >= x.to || x.from <= last {
					t.Fatalf("spans are not apart: %v", s)
				}
				last = x.to
				for i := x.from; i < x.to; i++ {
					set[i] = true
				}
			}
			return set
		}
		a, inA := draw("a")
		b, inB := draw("b")
		from := rapid.Int64Range(0, most).Draw(t, "from")
		to := rapid.Int64Range(from, most).Draw(t, "to")
		var less, inner [most]bool
		var n int64
		for i := range inA {
			less[i] = inA[i] && !inB[i]
			inner[i] = inA[i] && int64(i) >= from && int64(i) < to
			if inA[i] {
				n++
			}
		}
		if got := back(a.minus(b)); got != less {
			t.Fatalf("%v minus %v is %v", a, b, a.minus(b))
		}
		if got := back(a.within(from, to)); got != inner || a.total() != n {
			t.Fatalf("%v within [%d,%d) is %v, total %d", a, from, to, a.within(from, to), a.total())
		}
	})
}
