package bench

import (
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const (
	total  = 1 << 30
	rounds = 3
)

// BenchmarkSequential writes and cold-reads 1 GiB through the mount and with
// the SDK alone (8 connections, 16 MiB parts), against MinIO with SSE-KMS. It writes
// by a descriptor that can only write, and by one that can read as well, for which
// what was sent is held on.
func BenchmarkSequential(b *testing.B) {
	s := harness.MinIO(b, false)
	s.Plain = true
	for b.Loop() {
		var sdkW, sdkR, fsW, fsK, fsR, rss []float64
		for round := range rounds {
			key := fmt.Sprint("sdk-", round)
			sdkW = append(sdkW, rate(b, func() error { return sdkWrite(s, key) }))
			m := s.Mount(b)
			path := m.Path(fmt.Sprint("fs-", round))
			fsK = append(fsK, rate(b, func() error { return fileWrite(path, os.O_RDWR) }))
			fsW = append(fsW, rate(b, func() error { return fileWrite(path, os.O_WRONLY) }))
			peak := m.PeakRSS()
			m.Unmount()
			sdkR = append(sdkR, rate(b, func() error { return sdkRead(s, key) }))
			m = s.MountAt(b, m.Dir)
			dropCaches(b)
			fsR = append(fsR, rate(b, func() error { return fileRead(path) }))
			rss = append(rss, float64(max(peak, m.PeakRSS())>>20))
			m.Unmount()
			s.Delete(b, key)
			s.Delete(b, fmt.Sprint("fs-", round))
		}
		b.ReportMetric(median(sdkW), "sdk-write-MiB/s")
		b.ReportMetric(median(fsW), "write-MiB/s")
		b.ReportMetric(median(fsW)/median(sdkW), "write-ratio")
		b.ReportMetric(median(fsK)/median(sdkW), "read-write-ratio")
		b.ReportMetric(median(sdkR), "sdk-read-MiB/s")
		b.ReportMetric(median(fsR), "read-MiB/s")
		b.ReportMetric(median(fsR)/median(sdkR), "read-ratio")
		b.ReportMetric(slices.Max(rss), "peak-RSS-MiB")
	}
}

// BenchmarkSmallFiles creates and cold-reads files of 4 KiB with one and
// eight threads.
func BenchmarkSmallFiles(b *testing.B) {
	const n = 1000
	s := harness.MinIO(b, false)
	s.Plain = true
	body := block(1)[:4096]
	for b.Loop() {
		for _, threads := range []int{1, 8} {
			m := s.Mount(b)
			name := func(kind string, i int) string { return fmt.Sprintf("%s-%d-%d", kind, threads, i) }
			each := func(f func(i int) error) float64 {
				begin := time.Now()
				var g errgroup.Group
				g.SetLimit(threads)
				for i := range n {
					g.Go(func() error { return f(i) })
				}
				if err := g.Wait(); err != nil {
					b.Fatal(err)
				}
				return n / time.Since(begin).Seconds()
			}
			put := each(func(i int) error { return putSmall(s, name("sdk", i), body) })
			create := each(func(i int) error { return os.WriteFile(m.Path(name("fs", i)), body, 0o644) })
			m.Unmount()
			m = s.MountAt(b, m.Dir)
			dropCaches(b)
			read := each(func(i int) error { _, err := os.ReadFile(m.Path(name("fs", i))); return err })
			m.Unmount()
			b.ReportMetric(put, fmt.Sprintf("sdk-put/s-%dt", threads))
			b.ReportMetric(create, fmt.Sprintf("create/s-%dt", threads))
			b.ReportMetric(create/put, fmt.Sprintf("create-ratio-%dt", threads))
			b.ReportMetric(read, fmt.Sprintf("read/s-%dt", threads))
		}
	}
}

// BenchmarkList times ls -l of 3,000 files, first and second, after a remount.
func BenchmarkList(b *testing.B) {
	s := harness.MinIO(b, false)
	s.Plain = true
	for b.Loop() {
		m := s.Mount(b)
		var g errgroup.Group
		g.SetLimit(8)
		for i := range 3000 {
			g.Go(func() error { return os.WriteFile(m.Path(fmt.Sprint("f", i)), nil, 0o644) })
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		m.Unmount()
		m = s.MountAt(b, m.Dir)
		for _, which := range []string{"first", "second"} {
			begin := time.Now()
			entries, err := os.ReadDir(m.Dir)
			if err != nil {
				b.Fatal(err)
			}
			for _, e := range entries {
				if _, err := e.Info(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(time.Since(begin).Seconds(), which+"-ls-s")
		}
		m.Unmount()
	}
}

// rate returns MiB/s of f, which moves total bytes.
func rate(b *testing.B, f func() error) float64 {
	b.Helper()
	begin := time.Now()
	if err := f(); err != nil {
		b.Fatal(err)
	}
	return total / (1 << 20) / time.Since(begin).Seconds()
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// dropCaches empties the kernel's page, dentry and inode caches.
func dropCaches(b *testing.B) {
	b.Helper()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o200); err != nil {
		b.Fatalf("drop the kernel's caches: %v", err)
	}
}

// fileWrite writes total stamped bytes, until durable.
func fileWrite(path string, access int) error {
	f, err := os.OpenFile(path, access|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	buf := block(0)
	for i := range total / len(buf) {
		stamp(buf, i)
		if _, err := f.Write(buf); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// fileRead reads the file and checks every stamp.
func fileRead(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for i := range total / len(buf) {
		if _, err := io.ReadFull(f, buf); err != nil {
			return err
		}
		if err := checkStamp(buf, i); err != nil {
			return err
		}
	}
	return nil
}
