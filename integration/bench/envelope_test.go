package bench

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// modes are compared on one server: S3 encrypts, the mount does, both do.
var modes = [...]harness.Mode{harness.SSE, harness.Envelope, harness.Both}

// BenchmarkEnvelope writes and cold-reads 1 GiB through the mount in each mode,
// interleaved, against MinIO. The ratios say what sealing costs: envelope over
// SSE-KMS, where either the mount or the server encrypts, and both over SSE-KMS.
func BenchmarkEnvelope(b *testing.B) {
	servers := inModes(b)
	for b.Loop() {
		write, read := map[harness.Mode][]float64{}, map[harness.Mode][]float64{}
		for round := range rounds {
			for _, s := range servers {
				m := s.Mount(b)
				path := m.Path(fmt.Sprint("fs-", round))
				write[s.Mode] = append(write[s.Mode], rate(b, func() error { return fileWrite(path, os.O_WRONLY) }))
				m.Unmount()
				m = s.MountAt(b, m.Dir)
				dropCaches(b)
				read[s.Mode] = append(read[s.Mode], rate(b, func() error { return fileRead(path) }))
				m.Unmount()
				s.Delete(b, fmt.Sprint("fs-", round))
			}
		}
		compare(b, "write-MiB/s", write)
		compare(b, "read-MiB/s", read)
	}
}

// BenchmarkEnvelopeSmallFiles creates and cold-reads 1,000 files of 4 KiB in
// each mode, one after the other.
func BenchmarkEnvelopeSmallFiles(b *testing.B) {
	const n = 1000
	servers := inModes(b)
	body := block(1)[:4096]
	each := func(f func(i int) error) float64 {
		begin := time.Now()
		for i := range n {
			if err := f(i); err != nil {
				b.Fatal(err)
			}
		}
		return n / time.Since(begin).Seconds()
	}
	for b.Loop() {
		create, read := map[harness.Mode][]float64{}, map[harness.Mode][]float64{}
		for round := range rounds {
			for _, s := range servers {
				m := s.Mount(b)
				name := func(i int) string { return m.Path(fmt.Sprintf("f-%d-%d", round, i)) }
				create[s.Mode] = append(create[s.Mode], each(func(i int) error { return os.WriteFile(name(i), body, 0o644) }))
				m.Unmount()
				m = s.MountAt(b, m.Dir)
				dropCaches(b)
				read[s.Mode] = append(read[s.Mode], each(func(i int) error { _, err := os.ReadFile(name(i)); return err }))
				m.Unmount()
			}
		}
		compare(b, "create/s", create)
		compare(b, "read/s", read)
	}
}

// inModes starts a MinIO for each mode.
func inModes(b *testing.B) (servers []*harness.Server) {
	for _, mode := range modes {
		s := harness.MinIO(b, false).In(b, mode)
		s.Plain = true
		servers = append(servers, s)
	}
	return servers
}

// compare reports the median of each mode, and its ratio to that of SSE.
func compare(b *testing.B, unit string, figures map[harness.Mode][]float64) {
	for mode, all := range figures {
		b.ReportMetric(median(all), fmt.Sprintf("%s-%s", mode, unit))
		if mode != harness.SSE {
			b.ReportMetric(median(all)/median(figures[harness.SSE]), fmt.Sprintf("%s-%s-ratio", mode, unit))
		}
	}
}
