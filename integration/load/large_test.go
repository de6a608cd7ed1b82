package load

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

const mib = 1 << 20

// schedule is how many parts have how many MiB, as docs/PERFORMANCE.md says.
var schedule = [...]struct{ parts, mib int64 }{
	{64, 8}, {224, 16}, {192, 32}, {36, 64}, {36, 128}, {36, 256}, {36, 512}, {36, 1024}, {36, 2048}, {9000, 5120},
}

// partsOf returns the sizes of the parts that a file is sent in.
func partsOf(size int64) (all []int64) {
	for _, step := range schedule {
		for range step.parts {
			if size == 0 {
				return all
			}
			n := min(size, step.mib*mib)
			all = append(all, n)
			size -= n
		}
	}
	return all
}

// TestLargeFile writes one large file to a sandbox that keeps none of it. Parts
// that memory cannot hold go through the spool, which is smaller than the file.
func TestLargeFile(t *testing.T) {
	size := int64(544 * mib) // beyond the first step of the schedule
	if gib := number(t, "KMSFS_TEST_LOAD_GIB", 0); gib > 0 {
		size = int64(gib) << 30
	}
	size += 12345 // the last part is one of few bytes
	each(t, time.Duration(size>>25)*time.Second, func(t *testing.T, srv *harness.Server) {
		m := srv.Mount(t, memoryFlag, "--spool-size=6GiB")
		before := look(t, m)
		start := time.Now()
		f, err := os.Create(m.Path("large"))
		harness.Must(t, err)
		samples := writeAll(t, m, f, size)
		if info, err := f.Stat(); err != nil || info.Size() != size {
			t.Errorf("stat before close: %v, %v", info, err)
		}
		harness.Must(t, f.Close())
		took := time.Since(start)
		t.Logf("%d MiB in %v: %.0f MiB/s", size/mib, took.Round(time.Millisecond), float64(size)/mib/took.Seconds())
		grown(t, samples)
		settled(t, m, before)
		bounded(t, m)
		info, err := os.Stat(m.Path("large"))
		harness.Must(t, err)
		if info.Size() != size {
			t.Errorf("%d bytes, want %d", info.Size(), size)
		}
		wantParts(t, srv, "large", size)
		m.Unmount()
		again := srv.Mount(t, memoryFlag)
		info, err = os.Stat(again.Path("large"))
		harness.Must(t, err)
		if info.Size() != size {
			t.Errorf("after a remount %d bytes, want %d", info.Size(), size)
		}
		harness.Must(t, os.Remove(again.Path("large")))
		again.Unmount()
	}, func(o *sandbox.Options) { o.Discard = true })
}

// writeAll writes size bytes in order, and looks at the mount meanwhile.
func writeAll(t *testing.T, m *harness.Mount, f *os.File, size int64) (samples []figures) {
	t.Helper()
	const every = 40
	for done, next := int64(0), size/every; done < size; {
		n := min(mib, size-done)
		if _, err := f.Write(pattern()[done/mib%31*mib:][:n]); err != nil {
			t.Fatalf("write at %d: %v", done, err)
		}
		if done += n; done >= next {
			samples, next = append(samples, look(t, m)), next+size/every
		}
	}
	return samples
}

// wantParts compares the parts of an object with the schedule. Sealed ones are
// larger: by the header, and by what each frame has beside its content.
func wantParts(t *testing.T, srv *harness.Server, key string, size int64) {
	t.Helper()
	want := partsOf(size)
	for i := range want {
		out, err := srv.S3.HeadObject(context.Background(), &s3.HeadObjectInput{Bucket: &srv.Bucket, Key: &key, PartNumber: aws.Int32(int32(i + 1))})
		harness.Must(t, err)
		stored := want[i]
		if srv.Mode != harness.SSE {
			stored = sealedPart(stored, i == 0, i == len(want)-1)
		}
		if aws.ToInt64(out.ContentLength) != stored || int(aws.ToInt32(out.PartsCount)) != len(want) {
			t.Fatalf("part %d of %d has %d bytes, want %d of %d", i+1, aws.ToInt32(out.PartsCount), aws.ToInt64(out.ContentLength), stored, len(want))
		}
	}
	t.Logf("%d parts, the largest has %d MiB", len(want), max(want[0], want[max(0, len(want)-2)])/mib)
}

// sealedPart returns the size of a part once it is sealed.
func sealedPart(n int64, first, last bool) int64 {
	stored := n / crypto.FrameSize * crypto.Stride
	if last {
		stored += n%crypto.FrameSize + crypto.FinalOverhead
	}
	if first {
		stored += crypto.HeaderSize
	}
	return stored
}

// TestTooLargeFile: what cannot be stored is refused by write, not by close,
// and the file goes on.
func TestTooLargeFile(t *testing.T) {
	each(t, 0, func(t *testing.T, srv *harness.Server) {
		m := srv.Mount(t, memoryFlag, "--part-size=5MiB")
		before := look(t, m)
		f, err := os.Create(m.Path("f"))
		harness.Must(t, err)
		text := pattern()[:12*mib]
		_, err = f.Write(text)
		harness.Must(t, err)
		most := int64(10_000 * 5 * mib)
		if srv.Mode != harness.SSE {
			most -= 5 * mib // the last part may be an empty final frame
		}
		for _, off := range []int64{most, 50_000_000_000_000, 1<<62 + 1} {
			if _, err := f.WriteAt([]byte("xy"), off); !errors.Is(err, syscall.EFBIG) {
				t.Errorf("write at %d: %v, want EFBIG", off, err)
			}
		}
		if err := f.Truncate(most + 1); !errors.Is(err, syscall.EFBIG) {
			t.Errorf("truncate to %d: %v, want EFBIG", most+1, err)
		}
		harness.Must(t, f.Close())
		harness.Want(t, m.Path("f"), text)
		settled(t, m, before)
		m.Unmount()
		harness.Equal(t, "f", srv.Get(t, "f"), text)
	})
}
