package integration

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// manyFiles are fewer under the race detector, which the sandbox would need a
// minute for: the run on one processor has them all.
const (
	manyFiles = 10_000 - harness.Raced*9_000
	readers   = 64 // that are released at once
)

// callsOfManyFiles: ten thousand files cost no data key besides the one that the mount checks,
// and reading them all cold costs one call; without bucket keys it is one call
// for each. Counted by the sandbox's KMS, besides the checks of the mounts.
func callsOfManyFiles(t *testing.T) {
	for _, c := range []struct {
		bucketKey       string
		written, opened int
	}{{"on", 0, 1}, {"off", manyFiles, manyFiles}} {
		t.Run("bucket-key "+c.bucketKey, func(t *testing.T) {
			s := harness.Sandbox(t).In(t, harness.Envelope)
			s.Plain = true // what is counted does not depend on it
			m := s.Mount(t, "--bucket-key="+c.bucketKey)
			writeMany(t, m)
			wantCalls(t, s, "writing", c.written, 0)
			m.Unmount()
			m = s.Mount(t, "--bucket-key="+c.bucketKey, "--attr-ttl", "10m")
			listMany(t, m)
			wantCalls(t, s, "listing", 0, 0)
			readMany(t, m)
			wantCalls(t, s, "reading", 0, c.opened)
			m.Unmount()
			s.Sandbox.Log.Reset()
		})
	}
}

// wantCalls compares what KMS counted since the mount.
func wantCalls(t *testing.T, s *harness.Server, when string, generate, decrypt int) {
	t.Helper()
	c := s.Sandbox.Log.Counts()
	if c["GenerateDataKey"] != generate || c["Decrypt"] != decrypt {
		t.Errorf("%s: %d GenerateDataKey and %d Decrypt, want %d and %d", when, c["GenerateDataKey"], c["Decrypt"], generate, decrypt)
	}
}

// fileOf returns the name of file i, of which no directory has too many.
func fileOf(m *harness.Mount, i int) string { return m.Path(fmt.Sprintf("%02d/%05d", i%20, i)) }

func contentOf(i int) []byte { return harness.Random(uint64(i), 4<<10) }

func writeMany(t *testing.T, m *harness.Mount) {
	t.Helper()
	for i := range 20 {
		harness.Must(t, os.Mkdir(m.Path(fmt.Sprintf("%02d", i)), 0o755))
	}
	var g errgroup.Group
	g.SetLimit(32)
	for i := range manyFiles {
		g.Go(func() error { return os.WriteFile(fileOf(m, i), contentOf(i), 0o644) })
	}
	harness.Must(t, g.Wait())
}

// listMany has the mount know all files by their attributes.
func listMany(t *testing.T, m *harness.Mount) {
	t.Helper()
	seen := 0
	for i := range 20 {
		entries, err := os.ReadDir(m.Path(fmt.Sprintf("%02d", i)))
		harness.Must(t, err)
		for _, e := range entries {
			info, err := e.Info()
			harness.Must(t, err)
			if info.Size() == 4<<10 {
				seen++
			}
		}
	}
	if seen != manyFiles {
		t.Errorf("%d files of 4 KiB, want %d", seen, manyFiles)
	}
}

// readMany reads all files by readers that begin at one moment, before any data
// key is in memory.
func readMany(t *testing.T, m *harness.Mount) {
	t.Helper()
	barrier := make(chan struct{})
	var g errgroup.Group
	for r := range readers {
		g.Go(func() error {
			<-barrier
			for i := r; i < manyFiles; i += readers {
				got, err := os.ReadFile(fileOf(m, i))
				if err != nil {
					return err
				}
				if string(got) != string(contentOf(i)) {
					return fmt.Errorf("wrong content of file %d", i)
				}
			}
			return nil
		})
	}
	close(barrier)
	harness.Must(t, g.Wait())
}
