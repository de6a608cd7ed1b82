package oracle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// sizes are around the edges of frames. SDKs differ in how they end a message
// of whole frames: with a full final frame, or with an empty one.
var sizes = []int{0, 1, 65_535, 65_536, 65_537, 100 * 65_536, 10_000_000}

// exchange has the oracle that argv runs and a mount open what the other one
// wrote.
func exchange(t *testing.T, argv ...string) {
	s := harness.Sandbox(t).In(t, harness.Envelope)
	o := newOracle(s, argv...)
	var plain [][]byte
	for _, n := range sizes {
		plain = append(plain, harness.Random(uint64(n), n))
	}
	theirs := o.encrypt(t, s.Bucket, plain...)
	for i, n := range sizes { // before the mount, which is to know nothing of them
		s.PutRaw(t, fmt.Sprint("theirs-", n), theirs[i])
	}
	bad := faults(t, o, theirs[slices.Index(sizes, 65_537)])
	for what, f := range bad {
		s.PutRaw(t, what, f.sealed)
	}
	m := s.Mount(t)
	harness.Names(t, m.Dir) // what the sizes are taken from
	for i, n := range sizes {
		t.Run(fmt.Sprintf("mount opens %d bytes", n), func(t *testing.T) { reads(t, m, fmt.Sprint("theirs-", n), plain[i]) })
		t.Run(fmt.Sprintf("kmsfs decrypt opens %d bytes", n), func(t *testing.T) { decrypts(t, s, theirs[i], plain[i]) })
	}
	t.Run("oracle opens what the mount wrote", func(t *testing.T) {
		objects := map[string][]byte{}
		for i, n := range sizes {
			name := fmt.Sprint("ours-", n)
			harness.Write(t, m.Path(name), plain[i])
			objects[name] = plain[i]
		}
		o.opens(t, s, objects)
	})
	t.Run("both refuse what was spoiled", func(t *testing.T) { refuse(t, o, m, bad) })
	t.Run("oracle opens what the mount appended to", func(t *testing.T) {
		objects := map[string][]byte{}
		for i, n := range sizes {
			for _, name := range []string{fmt.Sprint("ours-", n), fmt.Sprint("theirs-", n)} {
				objects[name] = appends(t, s, m, name, plain[i])
			}
		}
		o.opens(t, s, objects)
	})
	t.Run("oracle opens by the second key", func(t *testing.T) { secondKey(t, o, s) })
}

// reads compares a file's size, its content at random places, before all of it
// can be in the page cache, and as a whole.
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

// A fault is what was done to an object that the oracle wrote, and the mount's
// answer.
type fault struct {
	sealed []byte
	errno  syscall.Errno
}

// faults spoils a sealed object of two frames, the second of one byte, and seals
// one for elsewhere.
func faults(t *testing.T, o oracle, sealed []byte) map[string]fault {
	t.Helper()
	flip := func(at int) []byte {
		b := bytes.Clone(sealed)
		b[at] ^= 1
		return b
	}
	return map[string]fault{
		"context":    {flip(45), syscall.EKEYREJECTED},
		"header tag": {flip(1023), syscall.EBADMSG},
		"frame":      {flip(5000), syscall.EBADMSG},
		"last byte":  {flip(len(sealed) - 1), syscall.EBADMSG},
		"cut off":    {sealed[:len(sealed)-41], syscall.EBADMSG}, // its final frame
		"elsewhere":  {o.encrypt(t, "elsewhere", []byte("content"))[0], syscall.EKEYREJECTED},
	}
}

// refuse checks that neither side opens what was spoiled, which shows that both
// authenticate what they open.
func refuse(t *testing.T, o oracle, m *harness.Mount, bad map[string]fault) {
	for what, f := range bad {
		if _, err := o.convert(t, [][]byte{f.sealed}, "decrypt", o.key); err == nil && what != "elsewhere" {
			t.Errorf("%s: the oracle decrypts it", what)
		}
		_, err := os.ReadFile(m.Path(what))
		harness.WantErrno(t, what, err, f.errno)
	}
}

// appends appends to a file twice and returns its new content. The ciphertext of
// a large file stays, so that frames with IVs of both kinds are in one message.
func appends(t *testing.T, s *harness.Server, m *harness.Mount, name string, plain []byte) []byte {
	t.Helper()
	header := s.Raw(t, name)[:1024]
	all := bytes.Clone(plain)
	for i, n := range []int{100_000, 10} {
		more := harness.Random(uint64(i), n)
		f, err := os.OpenFile(m.Path(name), os.O_WRONLY|os.O_APPEND, 0)
		harness.Must(t, err)
		_, err = f.Write(more)
		harness.Must(t, errors.Join(err, f.Close()))
		all = append(all, more...)
	}
	large := len(plain) > 5<<20
	if kept := bytes.Equal(s.Raw(t, name)[:1024], header); kept != large {
		t.Errorf("%s: the message goes on: %v, want %v", name, kept, large)
	}
	return all
}

// secondKey seals under two KMS keys, and with a context whose names UTF-8 and
// UTF-16 sort differently, and has the oracle open it with the second key only.
func secondKey(t *testing.T, o oracle, s *harness.Server) {
	o.key = s.Sandbox.KMS.KeyARN(sandbox.KeyAlias)
	m := s.OtherHost().Mount(t, "--envelope-key-id", o.key, "--encryption-context", "\uff5e=1", "--encryption-context", "\U0001d4b3=2")
	harness.Write(t, m.Path("two"), []byte("content"))
	o.opens(t, s, map[string][]byte{"two": []byte("content")})
}
