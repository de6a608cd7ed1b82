package s3io

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/kmsfs/kmsfs/crypto"
	"pgregory.net/rapid"
)

func newTestSpool(t testing.TB, size int64, sealing bool) *spool {
	t.Helper()
	s, err := openSpool(filepath.Join(t.TempDir(), "spool"), size, sealing)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSpoolKeepsFrames(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const limit = 6
		s := newTestSpool(t, limit*frameSize, rapid.Bool().Draw(rt, "sealing"))
		want := map[slot][]byte{}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		buf := make([]byte, s.frame)
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch op := rng.IntN(3); {
			case op == 0 && len(want) < limit:
				n, err := s.alloc(t.Context())
				if err != nil {
					rt.Fatalf("alloc with %d of %d slots used: %v", len(want), limit, err)
				}
				if _, taken := want[n]; taken {
					rt.Fatalf("slot %d given out twice", n)
				}
				want[n] = nil
				fallthrough
			case op == 1:
				for n := range want { // any: overwrite it
					p := make([]byte, rng.IntN(int(s.frame)+1))
					for i := range p {
						p[i] = byte(rng.Uint32())
					}
					if err := s.write(n, p); err != nil {
						rt.Fatal(err)
					}
					want[n] = p
					break
				}
			default:
				for n, p := range want {
					if p != nil {
						got, err := s.read(buf, n)
						if err != nil || !bytes.Equal(got, p) {
							rt.Fatalf("slot %d holds %d other bytes, want %d: %v", n, len(got), len(p), err)
						}
					}
					s.release([]slot{n}, false)
					delete(want, n)
					break
				}
			}
		}
		if s.inUse() != len(want) {
			rt.Fatalf("%d slots in use, want %d", s.inUse(), len(want))
		}
		for n := range want {
			s.release([]slot{n}, false)
		}
		if st, err := s.file.Stat(); err != nil || st.Size() != 0 {
			rt.Fatalf("an empty spool takes %d bytes: %v", st.Size(), err)
		}
	})
}

func TestSpoolIsPrivateAndSealed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s, err := openSpool(dir, 1<<20, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Fatalf("spool directory: %v %v", st.Mode(), err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Fatalf("the spool has a name: %v %v", names, err)
	}
	if st, err := s.file.Stat(); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("spool file: %v %v", st.Mode(), err)
	}
	secret := bytes.Repeat([]byte("the quick brown fox "), 1000)
	n, err := s.alloc(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.write(n, secret); err != nil {
		t.Fatal(err)
	}
	disk := rawSpool(t, s)
	if len(disk) < len(secret) {
		t.Fatalf("only %d bytes on disk", len(disk))
	}
	if bytes.Contains(disk, secret[:16]) {
		t.Fatal("plaintext on disk")
	}
}

// rawSpool returns what the spool's file holds on disk.
func rawSpool(t *testing.T, s *spool) []byte {
	t.Helper()
	disk, err := io.ReadAll(io.NewSectionReader(s.file, 0, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

func TestSpoolTellsDamagedAndOldFrames(t *testing.T) {
	s := newTestSpool(t, 1<<20, false)
	n, err := s.alloc(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.write(n, []byte("old")); err != nil {
		t.Fatal(err)
	}
	old := rawSpool(t, s)
	if err := s.write(n, []byte("new")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, frameSize)
	if got, err := s.read(buf, n); err != nil || string(got) != "new" {
		t.Fatalf("read %q, %v", got, err)
	}
	fresh := rawSpool(t, s)
	fresh[len(fresh)-1] ^= 1
	for name, disk := range map[string][]byte{"old": old, "flipped": fresh} {
		if _, err := s.file.WriteAt(disk, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := s.read(buf, n); !errors.Is(err, crypto.ErrOpen) {
			t.Errorf("read of the %s frame: %v, want ErrOpen", name, err)
		}
	}
}

func TestSpoolWaitsOnlyForSlotsThatLeave(t *testing.T) {
	s := newTestSpool(t, frameSize, false)
	n, err := s.alloc(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.alloc(t.Context()); !errors.Is(err, errSpoolFull) {
		t.Fatalf("alloc in a full spool: %v", err)
	}
	s.leave(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.alloc(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("alloc with an ended context: %v", err)
	}
	got := make(chan error)
	go func() {
		_, err := s.alloc(t.Context())
		got <- err
	}()
	s.release([]slot{n}, true)
	if err := <-got; err != nil {
		t.Fatalf("alloc after release: %v", err)
	}
}

func TestSpoolDirectoryThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := openSpool(filepath.Join(file, "spool"), 1<<20, false); err == nil {
		s.close()
		t.Fatal("a spool below a file")
	}
}
