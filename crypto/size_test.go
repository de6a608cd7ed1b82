package crypto

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// TestSizesOfEveryShortObject compares the formula with a table of all messages
// of up to four frames.
func TestSizesOfEveryShortObject(t *testing.T) {
	sizes := map[int64]int64{}
	for regular := range int64(4) {
		for rest := range int64(FrameSize + 1) {
			sizes[HeaderSize+regular*(4+12+FrameSize+16)+(4+4+12+4+rest+16)] = regular*FrameSize + rest
		}
	}
	last := int64(-1)
	for sealed := int64(0); sealed < HeaderSize+4*Stride; sealed++ {
		want, valid := sizes[sealed]
		got, ok := PlainSize(sealed)
		if ok != valid || got != want {
			t.Fatalf("PlainSize(%d) = %d, %v; want %d, %v", sealed, got, ok, want, valid)
		}
		if ok && got < last {
			t.Fatalf("PlainSize(%d) = %d after %d: not monotonic", sealed, got, last)
		} else if ok {
			last = got
		}
	}
}

func TestSizesAreInverse(t *testing.T) {
	edge := rapid.Custom(func(t *rapid.T) int64 {
		near := rapid.Int64Range(0, MaxPlainSize/FrameSize).Draw(t, "frames") * FrameSize
		return max(0, min(MaxPlainSize, near+rapid.Int64Range(-1, 1).Draw(t, "beside")))
	})
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.OneOf(rapid.Int64Range(0, MaxPlainSize), rapid.Int64Range(0, 3*FrameSize), edge).Draw(t, "plain")
		sealed := SealedSize(plain)
		if got, ok := PlainSize(sealed); !ok || got != plain {
			t.Fatalf("PlainSize(SealedSize(%d)) = %d, %v", plain, got, ok)
		}
		final := FinalFrame(sealed)
		if final != FrameAt(plain) {
			t.Errorf("the final frame of %d bytes is %d, the next byte would be in %d", plain, final, FrameAt(plain))
		}
		if end := FrameOffset(final) + FinalOverhead + plain%FrameSize; end != sealed {
			t.Errorf("the final frame of %d bytes ends at %d, the object at %d", plain, end, sealed)
		}
		if n := FrameAt(plain); n > 1 && FrameOffset(n)-FrameOffset(n-1) != Stride {
			t.Errorf("frame %d is not one stride behind the one before", n)
		}
		if plain < MaxPlainSize && SealedSize(plain+1) <= sealed {
			t.Errorf("%d bytes need less room than %d", plain+1, plain)
		}
		if plain > 0 && plain%FrameSize == 0 {
			full := sealed - (Stride - FrameSize) // the last bytes fill the final frame
			if got, ok := PlainSize(full); !ok || got != plain || FinalFrame(full) != final-1 {
				t.Errorf("PlainSize(%d) = %d, %v with final frame %d; want %d in one frame less", full, got, ok, FinalFrame(full), plain)
			}
			if _, ok := PlainSize(full + 1); ok {
				t.Errorf("PlainSize(%d) is accepted: the final frame would be more than full", full+1)
			}
		}
	})
}

func TestSizesBeyondTheFormat(t *testing.T) {
	for _, sealed := range []int64{math.MinInt64, -1, 0, MinSealedSize - 1, SealedSize(MaxPlainSize) + Stride, math.MaxInt64} {
		if plain, ok := PlainSize(sealed); ok {
			t.Errorf("PlainSize(%d) = %d, want refusal", sealed, plain)
		}
	}
	if n := FinalFrame(SealedSize(MaxPlainSize)); n != maxFrames {
		t.Errorf("the longest message has %d frames, want %d", n, uint32(maxFrames))
	}
}

func TestSizesAreThoseOfSealedBytes(t *testing.T) {
	for _, n := range []int{0, 1, FrameSize - 1, FrameSize, FrameSize + 1, 2*FrameSize - 1, 2 * FrameSize, 2*FrameSize + 1} {
		if got := int64(len(sealAll(newMessage(t), someText(n), false))); got != SealedSize(int64(n)) {
			t.Errorf("%d bytes are %d sealed, SealedSize says %d", n, got, SealedSize(int64(n)))
		}
		full := int64(len(sealAll(newMessage(t), someText(n), true)))
		if plain, ok := PlainSize(full); !ok || plain != int64(n) {
			t.Errorf("PlainSize(%d) = %d, %v, want %d", full, plain, ok, n)
		}
	}
}
