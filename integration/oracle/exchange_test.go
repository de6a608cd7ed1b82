package oracle

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// sizes are around the edges of frames.
var sizes = []int{0, 1, 65_535, 65_536, 65_537, 10_000_000}

// large is the size of a file that is changed in place by splicing.
const large = 70 << 20

// exchange has the oracle that argv runs and a mount open what the other one
// wrote.
func exchange(t *testing.T, argv ...string) {
	s := harness.Sandbox(t).In(t, harness.Envelope)
	o := newOracle(t, s, argv...)
	theirs := map[int][]byte{}
	for _, n := range sizes { // before the mount, which is to know nothing of them
		theirs[n] = o.encrypt(t, bound, harness.Random(uint64(n), n))
		s.PutRaw(t, fmt.Sprint("theirs-", n), theirs[n])
	}
	s.PutRaw(t, "elsewhere", o.encrypt(t, `{"aws:s3:arn":"arn:aws:s3:::elsewhere"}`, []byte("content")))
	m := s.Mount(t)
	for _, n := range sizes {
		plain := harness.Random(uint64(n), n)
		t.Run(fmt.Sprintf("mount opens %d bytes", n), func(t *testing.T) { reads(t, m, fmt.Sprint("theirs-", n), plain) })
		t.Run(fmt.Sprintf("kmsfs decrypt opens %d bytes", n), func(t *testing.T) { decrypts(t, s, theirs[n], plain) })
		t.Run(fmt.Sprintf("oracle opens %d bytes", n), func(t *testing.T) {
			name := fmt.Sprint("ours-", n)
			harness.Write(t, m.Path(name), plain)
			o.opens(t, s.Raw(t, name), plain)
		})
	}
	t.Run("both refuse what was changed", func(t *testing.T) { refuse(t, o, s, m, theirs[65_537]) })
	t.Run("mount refuses another bucket's", func(t *testing.T) {
		_, err := os.ReadFile(m.Path("elsewhere"))
		harness.WantErrno(t, "read", err, syscall.EKEYREJECTED)
	})
	t.Run("mount appends to the oracle's", func(t *testing.T) {
		for _, n := range sizes {
			name, more := fmt.Sprint("theirs-", n), harness.Random(2, 100_000)
			write(t, m.Path(name), os.O_APPEND, 0, more)
			o.opens(t, s.Raw(t, name), append(harness.Random(uint64(n), n), more...))
		}
	})
	t.Run("oracle opens what was spliced", func(t *testing.T) { spliced(t, o, s, m) })
	t.Run("oracle opens by the second key", func(t *testing.T) { secondKey(t, o, s) })
}

// reads compares a file's size in its directory and by stat, and its content at
// random places, before all of it can be in the page cache, and as a whole.
func reads(t *testing.T, m *harness.Mount, name string, plain []byte) {
	t.Helper()
	info, err := os.Stat(m.Path(name))
	harness.Must(t, err)
	if info.Size() != int64(len(plain)) {
		t.Errorf("size %d, want %d", info.Size(), len(plain))
	}
	f, err := os.Open(m.Path(name))
	harness.Must(t, err)
	defer f.Close()
	random := rand.New(rand.NewPCG(1, uint64(len(plain))))
	for range 30 {
		off := random.IntN(len(plain) + 1)
		want := plain[off:min(len(plain), off+1+random.IntN(200_000))]
		got := make([]byte, len(want))
		if n, err := f.ReadAt(got, int64(off)); n != len(want) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("read at %d: %d bytes of %d: %v", off, n, len(want), err)
		}
		harness.Equal(t, fmt.Sprint("content at ", off), got, want)
	}
	harness.Want(t, m.Path(name), plain)
}

// decrypts has `kmsfs decrypt` open a message.
func decrypts(t *testing.T, s *harness.Server, sealed, plain []byte) {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	harness.Write(t, in, sealed)
	cmd := exec.Command(harness.Binary(t), "decrypt", in, "-o", out, "--kms-endpoint-url", s.KMSURL(), "--ca-bundle", s.CA())
	cmd.Env = append(os.Environ(), s.Env()...)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kmsfs decrypt: %v\n%s", err, said)
	}
	harness.Want(t, out, plain)
}

// refuse checks that neither side opens a changed message, which shows that
// both authenticate what they open.
func refuse(t *testing.T, o oracle, s *harness.Server, m *harness.Mount, sealed []byte) {
	for what, bad := range map[string]struct {
		at    int
		errno syscall.Errno
	}{
		"context":    {45, syscall.EKEYREJECTED},
		"header tag": {1023, syscall.EBADMSG},
		"frame":      {5000, syscall.EBADMSG},
		"last byte":  {len(sealed) - 1, syscall.EBADMSG},
	} {
		changed := flipped(sealed, bad.at)
		o.refuses(t, what, changed)
		s.PutRaw(t, what, changed)
		_, err := os.ReadFile(m.Path(what))
		harness.WantErrno(t, what, err, bad.errno)
	}
	o.refuses(t, "cut off", sealed[:len(sealed)-66_000])
}

// write writes b into an existing file at off, or behind its end.
func write(t *testing.T, path string, mode int, off int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|mode, 0)
	harness.Must(t, err)
	if mode == os.O_APPEND {
		_, err = f.Write(b)
	} else {
		_, err = f.WriteAt(b, off)
	}
	harness.Must(t, errors.Join(err, f.Close()))
}

// spliced appends to a large file and overwrites a piece of it: unchanged
// ciphertext stays, so that frames with IVs of both kinds are in one message.
func spliced(t *testing.T, o oracle, s *harness.Server, m *harness.Mount) {
	plain := harness.Random(3, large)
	harness.Write(t, m.Path("large"), plain)
	before := s.Raw(t, "large")[:1024]
	more := harness.Random(4, 3_000_000)
	write(t, m.Path("large"), os.O_APPEND, 0, more)
	plain = append(plain, more...)
	o.opens(t, s.Raw(t, "large"), plain)

	piece := harness.Random(5, 100_000)
	write(t, m.Path("large"), 0, 20_000_001, piece)
	copy(plain[20_000_001:], piece)
	sealed := s.Raw(t, "large")
	o.opens(t, sealed, plain)
	harness.Equal(t, "header, which a splice keeps", sealed[:1024], before)
}

// secondKey seals under two KMS keys, and with a context whose names UTF-8 and
// UTF-16 sort differently, and has the oracle open it with the second key only.
func secondKey(t *testing.T, o oracle, s *harness.Server) {
	o.key = s.Sandbox.KMS.KeyARN(sandbox.KeyAlias)
	m := s.OtherHost().Mount(t, "--envelope-key-id", o.key, "--encryption-context", "\uff5e=1", "--encryption-context", "\U0001d4b3=2")
	harness.Write(t, m.Path("two"), []byte("content"))
	o.opens(t, s.Raw(t, "two"), []byte("content"))
}
