package bench

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// BenchmarkAnywhere changes a file of 256 MiB, until durable, in each mode against
// MinIO: 4 KiB in its middle, 1 MiB at its end, and 200 pieces of 4 KiB anywhere.
func BenchmarkAnywhere(b *testing.B) {
	const size = 256 << 20
	servers := inModes(b)
	body := make([]byte, 0, size)
	for i := range size / blockSize {
		body = append(body, block(byte(i))...)
	}
	for b.Loop() {
		change, add, many := map[harness.Mode][]float64{}, map[harness.Mode][]float64{}, map[harness.Mode][]float64{}
		for range rounds {
			for _, s := range servers {
				m := s.Mount(b)
				path := m.Path("f")
				harness.Must(b, os.WriteFile(path, body, 0o644))
				change[s.Mode] = append(change[s.Mode], changes(b, path, []int64{size / 2}, 4096))
				add[s.Mode] = append(add[s.Mode], changes(b, path, []int64{size}, 1<<20))
				var places []int64
				for range 200 {
					places = append(places, rand.Int64N(size))
				}
				many[s.Mode] = append(many[s.Mode], changes(b, path, places, 4096))
				m.Unmount()
				s.Delete(b, "f")
			}
		}
		compare(b, "change-s", change)
		compare(b, "append-s", add)
		compare(b, "200-changes-s", many)
	}
}

// changes writes size bytes at each of the places and returns the seconds until that
// is durable.
func changes(b *testing.B, path string, places []int64, size int) float64 {
	b.Helper()
	piece := block(1)[:size]
	begin := time.Now()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	harness.Must(b, err)
	for _, off := range places {
		_, err := f.WriteAt(piece, off)
		harness.Must(b, err)
	}
	harness.Must(b, f.Sync())
	harness.Must(b, f.Close())
	return time.Since(begin).Seconds()
}
