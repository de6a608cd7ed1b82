package integration

import (
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

func TestRenameOfDirectories(t *testing.T) {
	t.Parallel()
	s := sandboxed(t)
	m := s.Mount(t, "--attr-ttl", "0s")
	for name, test := range map[string]func(*testing.T, *harness.Server, *harness.Mount){
		"every name moves":               everyNameMoves,
		"open and unsaved files move":    openFilesMove,
		"an empty directory is replaced": emptyDirectoryIsReplaced,
		"what is refused":                renamesRefused,
		"others go on meanwhile":         othersGoOn,
	} {
		t.Run(name, func(t *testing.T) { test(t, s, m) })
	}
}

func everyNameMoves(t *testing.T, s *harness.Server, m *harness.Mount) {
	harness.Must(t, os.MkdirAll(m.Path("n/sub/empty"), 0o755))
	names := []string{strings.Repeat("x", 255), "new\nline\ttab\x01\x7f", "\xff\xfe not UTF-8", "a b+c%41&=", "‛quote", "ends with space "}
	for _, name := range names {
		harness.Write(t, m.Path("n", name), []byte(name))
	}
	harness.Must(t, os.Symlink("../target", m.Path("n/symlink")))
	harness.Must(t, syscall.Mkfifo(m.Path("n/fifo"), 0o600))
	for _, key := range []string{"n//odd", "n/a//b", "n/./x", "n/both", "n/both/in", "n/" + strings.Repeat("y", 300)} {
		s.Put(t, key, []byte(key))
	}
	want := s.Keys(t)
	for i, key := range want {
		if below, ok := strings.CutPrefix(key, "n/"); ok {
			want[i] = "moved/" + below
		}
	}
	slices.Sort(want)
	harness.Must(t, os.Rename(m.Path("n"), m.Path("moved")))
	if d := cmp.Diff(want, s.Keys(t)); d != "" {
		t.Error(d)
	}
	for _, name := range names {
		harness.Want(t, m.Path("moved", name), []byte(name))
	}
	if target, err := os.Readlink(m.Path("moved/symlink")); target != "../target" {
		t.Errorf("the symlink names %q, %v", target, err)
	}
	if info, err := os.Lstat(m.Path("moved/fifo")); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("the FIFO is %v, %v", info, err)
	}
}

func openFilesMove(t *testing.T, s *harness.Server, m *harness.Mount) {
	harness.Must(t, os.Mkdir(m.Path("o"), 0o755))
	harness.Write(t, m.Path("o/read"), []byte("read"))
	r, err := os.Open(m.Path("o/read"))
	harness.Must(t, err)
	defer r.Close()
	w, err := os.Create(m.Path("o/written"))
	harness.Must(t, err)
	_, err = w.WriteString("before, ")
	harness.Must(t, err)
	harness.Must(t, os.Rename(m.Path("o"), m.Path("opened")))
	_, err = w.WriteString("after")
	harness.Must(t, err)
	harness.Must(t, w.Close())
	harness.Want(t, m.Path("opened/written"), []byte("before, after"))
	got, err := io.ReadAll(r)
	harness.Must(t, err)
	harness.Equal(t, "what was open", got, []byte("read"))
	harness.Equal(t, "object", s.Get(t, "opened/written"), []byte("before, after"))
	wantFiles(t, s, "o", nil)
}

func emptyDirectoryIsReplaced(t *testing.T, s *harness.Server, m *harness.Mount) {
	s.Put(t, "implied/f", []byte("f"))
	harness.Must(t, os.Mkdir(m.Path("made"), 0o711))
	harness.Write(t, m.Path("made/f"), []byte("f"))
	for from, mode := range map[string]os.FileMode{"implied": 0o755, "made": 0o711} {
		to := "over-" + from
		harness.Must(t, os.Mkdir(m.Path(to), 0o700))
		harness.Must(t, syscall.Rename(m.Path(from), m.Path(to)))
		wantTree(t, m, to, []string{"f"})
		wantFiles(t, s, from, nil)
		info, err := os.Stat(m.Path(to))
		harness.Must(t, err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %o, want %o", to, info.Mode().Perm(), mode)
		}
	}
}

func renamesRefused(t *testing.T, s *harness.Server, m *harness.Mount) {
	harness.Must(t, os.MkdirAll(m.Path("r/sub"), 0o755))
	harness.Must(t, os.Mkdir(m.Path("empty"), 0o755))
	harness.Must(t, os.Mkdir(m.Path("full"), 0o755))
	harness.Write(t, m.Path("full/f"), []byte("f"))
	rename := func(to string, flags uint) error {
		return unix.Renameat2(unix.AT_FDCWD, m.Path("r"), unix.AT_FDCWD, m.Path(to), flags)
	}
	before := s.Keys(t)
	harness.WantErrno(t, "into itself", rename("r/sub/x", 0), syscall.EINVAL)
	harness.WantErrno(t, "over a full directory", rename("full", 0), syscall.ENOTEMPTY)
	harness.WantErrno(t, "over a file", rename("full/f", 0), syscall.ENOTDIR)
	harness.WantErrno(t, "RENAME_NOREPLACE over an empty directory", rename("empty", unix.RENAME_NOREPLACE), syscall.EEXIST)
	harness.WantErrno(t, "RENAME_EXCHANGE", rename("empty", unix.RENAME_EXCHANGE), syscall.EINVAL)
	w, err := os.Create(m.Path("empty/unsaved"))
	harness.Must(t, err)
	harness.WantErrno(t, "over a directory with an unsaved file", rename("empty", 0), syscall.ENOTEMPTY)
	harness.Must(t, os.Remove(m.Path("empty/unsaved")))
	harness.Must(t, w.Close())
	if d := cmp.Diff(before, s.Keys(t)); d != "" {
		t.Errorf("what was refused changed something: %s", d)
	}
	harness.Must(t, rename("new", unix.RENAME_NOREPLACE))
	if _, err := os.Stat(m.Path("new/sub")); err != nil {
		t.Error(err)
	}
}

// othersGoOn holds a rename up, longer than the log keeps silent.
func othersGoOn(t *testing.T, s *harness.Server, m *harness.Mount) {
	fill(t, s, "slow", 40)
	harness.Write(t, m.Path("other"), []byte("other"))
	rule := s.Sandbox.Faults.Add(wire.Fault{Op: "CopyObject", Skip: 10, Kind: wire.Hang})
	s.Sandbox.Log.Reset()
	done := async(func() error { return os.Rename(m.Path("slow"), m.Path("quick")) })
	awaitOp(t, s, "CopyObject", 11)
	within(t, "stat of another file", 10*time.Second, func() error { _, err := os.Stat(m.Path("other")); return err })
	harness.Want(t, m.Path("other"), []byte("other"))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	over := time.After(patience)
	for !strings.Contains(m.Log(), "rename /slow to /quick: 10 of 41 objects copied") {
		select {
		case <-tick.C:
		case <-over:
			t.Fatal("the log does not tell how far the rename is")
		}
	}
	rule.Remove()
	harness.Must(t, await(t, "rename", done))
}
