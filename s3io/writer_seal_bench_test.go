package s3io

import (
	"context"
	"io"
	"sync"
	"testing"
)

// BenchmarkSendPart is what a part of 8 MiB costs besides the network: copied
// in, sealed, summed up, read.
func BenchmarkSendPart(b *testing.B) {
	inEach := func(b *testing.B, f func(*testing.B, mode)) {
		b.Run("sse", func(b *testing.B) { f(b, inS3) })
		b.Run("envelope", func(b *testing.B) { f(b, ahead) })
	}
	inEach(b, func(b *testing.B, m mode) {
		r := m.rig(b, Options{})
		const size = 8 << 20
		content := randomBytes(1, size)
		buf := make([]byte, 64<<10)
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			p := r.b.writes.newPages(0, size, new(sync.RWMutex))
			if _, err := p.writeAt(context.Background(), content, 0); err != nil {
				b.Fatal(err)
			}
			var from io.ReadSeeker
			if m == ahead {
				s, err := r.b.keys.Seal(context.Background(), "x")
				if err != nil {
					b.Fatal(err)
				}
				if from, _, err = sealBody(s, 0, true, p); err != nil {
					b.Fatal(err)
				}
			} else {
				from, _ = newBody(p)
			}
			if _, err := sum(from); err != nil {
				b.Fatal(err)
			}
			for {
				if _, err := from.Read(buf); err == io.EOF {
					break
				}
			}
			p.release()
		}
	})
}
