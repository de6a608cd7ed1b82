package crypto

import "testing"

// TestFramesAllocateNothing counts allocations per frame, sealed and opened in
// its place.
func TestFramesAllocateNothing(t *testing.T) {
	const runs = 100 // AllocsPerRun calls once more
	s := newMessage(t)
	buf := make([]byte, Headroom+FrameSize+Tailroom)
	text := buf[Headroom : Headroom+FrameSize]
	for what, sealer := range map[string]*Sealer{"begun here": s, "spliced": s.Splice()} {
		run := sealer.Run(1, runs+1)
		if n := testing.AllocsPerRun(runs, func() { run.Seal(buf[:Headroom-FrameHead], text) }); n > 0 {
			t.Errorf("%s: Seal allocates %v times", what, n)
		}
		finals := make([]*Run, 0, runs+1)
		for i := range uint32(runs + 1) {
			finals = append(finals, sealer.Run(1000+i, 1))
		}
		if n := testing.AllocsPerRun(runs, func() {
			finals[0].SealFinal(buf[:0], text)
			finals = finals[1:]
		}); n > 0 {
			t.Errorf("%s: SealFinal allocates %v times", what, n)
		}
	}
	f := threeFrames(t)
	if n := testing.AllocsPerRun(runs, func() {
		_, err := f.Open(buf[:0], f.one, 1, false)
		_, final := f.Open(buf[:0], f.final, 3, true)
		if err != nil || final != nil {
			t.Fatal(err, final)
		}
	}); n > 0 {
		t.Errorf("Open allocates %v times", n)
	}
}

// The benchmarks of GCM do with the cipher alone what the others do with frames,
// and so set the mark.

func BenchmarkSeal(b *testing.B) {
	buf := make([]byte, Headroom+FrameSize+Tailroom)
	run := newMessage(b).Run(1, maxFrames)
	b.SetBytes(FrameSize)
	b.ReportAllocs()
	for b.Loop() {
		run.Seal(buf[:Headroom-FrameHead], buf[Headroom:Headroom+FrameSize])
	}
}

func BenchmarkSealSpliced(b *testing.B) {
	buf := make([]byte, Headroom+FrameSize+Tailroom)
	run := newMessage(b).Splice().Run(1, maxFrames)
	b.SetBytes(FrameSize)
	b.ReportAllocs()
	for b.Loop() {
		run.Seal(buf[:Headroom-FrameHead], buf[Headroom:Headroom+FrameSize])
	}
}

func BenchmarkOpen(b *testing.B) {
	f := threeFrames(b)
	buf := make([]byte, 0, FrameSize)
	b.SetBytes(FrameSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Open(buf, f.one, 1, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGCMSeal(b *testing.B) {
	buf := make([]byte, FrameSize+tagSize)
	aead := newGCM(countUp(1, 32))
	iv, aad := make([]byte, nonceSize), make([]byte, 72)
	b.SetBytes(FrameSize)
	b.ReportAllocs()
	for b.Loop() {
		aead.Seal(buf[:0], iv, buf[:FrameSize], aad)
	}
}

func BenchmarkGCMOpen(b *testing.B) {
	aead := newGCM(countUp(1, 32))
	iv, aad := make([]byte, nonceSize), make([]byte, 72)
	sealed := aead.Seal(nil, iv, make([]byte, FrameSize), aad)
	buf := make([]byte, 0, FrameSize)
	b.SetBytes(FrameSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := aead.Open(buf, iv, sealed, aad); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBegin is what a new file costs besides its bytes and KMS.
func BenchmarkBegin(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		newMessage(b)
	}
}

// BenchmarkBeginToOpen is what the first read of a file costs so.
func BenchmarkBeginToOpen(b *testing.B) {
	raw := newMessage(b).Header().Bytes()
	key := countUp(1, dataKeySize)
	b.ReportAllocs()
	for b.Loop() {
		h, err := ParseHeader(raw)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := newOpener(key, h); err != nil {
			b.Fatal(err)
		}
	}
}
