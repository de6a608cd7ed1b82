package integration

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// secretStamp is in everything that these tests write, and must be in no salvaged file.
const secretStamp = "PLAINTEXT-THAT-NOBODY-MAY-SEE"

// secretive is random content with stamps in it.
func secretive(seed uint64, n int) []byte {
	b := harness.Random(seed, n)
	for at := 0; at+len(secretStamp) < n; at += 64 << 10 {
		copy(b[at:], secretStamp)
	}
	return b
}

// kept is what a mount left in its salvage directory.
type kept struct {
	File, Key, Reason, ETag string
	Size                    int64
	Whole                   bool
	Kept, Over, Lost        []struct{ From, To int64 }

	content []byte // what `kmsfs decrypt` made of it
}

// salvaged returns what was kept, by key, opened without any mount.
func salvaged(t *testing.T, s *harness.Server, dir string) map[string]kept {
	t.Helper()
	all := map[string]kept{}
	for _, name := range harness.Names(t, dir) {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		harness.Must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		raw, err := os.ReadFile(path)
		harness.Must(t, err)
		if bytes.Contains(raw, []byte(secretStamp)) {
			t.Errorf("%s has content in plaintext", name)
		}
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		var k kept
		harness.Must(t, json.Unmarshal(raw, &k))
		out := filepath.Join(t.TempDir(), "out")
		said, err := s.Run(t, append([]string{"decrypt", filepath.Join(dir, k.File), "-o", out}, s.Connection()...)...)
		if err != nil {
			t.Fatalf("kmsfs decrypt %s: %v\n%s", k.File, err, said)
		}
		k.content, err = os.ReadFile(out)
		harness.Must(t, err)
		all[k.Key] = k
	}
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v", info.Mode())
	}
	return all
}

// open opens a file of the mount for the rest of the test, and writes to it.
func openAndWrite(t *testing.T, name string, flags int, at int64, b []byte) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, flags, 0o644)
	harness.Must(t, err)
	t.Cleanup(func() { f.Close() }) // it was told, or the mount is gone
	_, err = f.WriteAt(b, at)
	harness.Must(t, err)
	return f
}

// exitStatus is 0 for nil.
func exitStatus(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	exit, ok := err.(interface{ ExitCode() int })
	if !ok {
		t.Fatalf("no exit status: %v", err)
	}
	return exit.ExitCode()
}

// TestSalvage: SIGTERM while neither S3 nor KMS answers. When the time to drain is
// over the content of open files is in the salvage directory, sealed, and each can be
// opened. What an object had already that is only changed is not asked for.
func TestSalvage(t *testing.T) {
	for _, mode := range []harness.Mode{harness.SSE, harness.Envelope, harness.Both} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := harness.Sandbox(t).In(t, mode)
			s.Plain = mode != harness.Both // one of them for the race detector
			dir := filepath.Join(t.TempDir(), "salvage")
			m := s.Mount(t, "--salvage-dir", dir, "--drain-timeout", "2s")
			roams := secretive(1, 12<<20)
			harness.Write(t, m.Path("roams"), roams)
			small, large, edit := secretive(2, 5000), secretive(3, 20<<20), secretive(4, 70_000)
			openAndWrite(t, m.Path("empty"), os.O_CREATE|os.O_WRONLY, 0, nil)
			openAndWrite(t, m.Path("small one"), os.O_CREATE|os.O_WRONLY, 0, small)
			openAndWrite(t, m.Path("roams"), os.O_RDWR, 6<<20+1, edit)
			f := openAndWrite(t, m.Path("large"), os.O_CREATE|os.O_WRONLY, 0, nil)
			s.Sandbox.Faults.Add(wire.Fault{Kind: wire.ResetBefore})
			_, err := f.Write(large)
			harness.Must(t, err)
			m.Signal(syscall.SIGTERM)
			err = m.Wait()
			s.Sandbox.Faults.Clear()
			if exitStatus(t, err) != 1 || !strings.Contains(m.Log(), "/small one: there was no time left to save it") ||
				!strings.Contains(m.Log(), "open it with: kmsfs decrypt "+dir) {
				t.Errorf("the mount ended with %v and said\n%s", err, m.Log())
			}
			got := salvaged(t, s, dir)
			for name, want := range map[string][]byte{"empty": nil, "small one": small, "large": large} {
				k, ok := got[name]
				if !ok || !k.Whole || k.Size != int64(len(want)) || k.Reason == "" {
					t.Errorf("%s: %+v", name, k.File)
				}
				harness.Equal(t, name, k.content, want)
			}
			k := got["roams"]
			if k.Whole || len(k.Lost) > 0 || len(k.Kept) != 1 || k.Kept[0].From != 6<<20+1 || k.ETag != *s.Head(t, "roams").ETag {
				t.Errorf("what was changed of a large file: %+v over %s", k.Kept, k.ETag)
			}
			harness.Equal(t, "changes", k.content, edit)
			harness.Equal(t, "object below them", s.Get(t, "roams"), roams)
		})
	}
}

// refuseToStore has S3 refuse whatever makes an object.
func refuseToStore(s *harness.Server) (undo func()) {
	var rules []*wire.Rule
	for _, op := range []string{"PutObject", "CreateMultipartUpload", "CompleteMultipartUpload"} {
		rules = append(rules, s.Sandbox.Faults.Add(wire.Fault{Op: op, Kind: wire.Answer, Status: 403, Code: "AccessDenied"}))
	}
	return func() {
		for _, r := range rules {
			r.Remove()
		}
	}
}

// TestSalvageAtUnmount: what a mapping wrote after close cannot be told to anybody
// but who unmounts. It is kept at once, named then, and the mount goes.
func TestSalvageAtUnmount(t *testing.T) {
	t.Parallel()
	s := sandboxed(t)
	dir := filepath.Join(t.TempDir(), "salvage")
	m := s.Mount(t, "--salvage-dir", dir)
	want := secretive(1, 12<<20)
	harness.Write(t, m.Path("mapped"), want)
	f, err := os.OpenFile(m.Path("mapped"), os.O_RDWR, 0)
	harness.Must(t, err)
	// Populated: this process serves S3, and a page fault would stop its only processor.
	mapped, err := unix.Mmap(int(f.Fd()), 0, len(want), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	harness.Must(t, err)
	harness.Must(t, f.Close())
	undo := refuseToStore(s)
	copy(mapped[5<<20:], secretStamp)
	copy(want[5<<20:], secretStamp)
	harness.Must(t, unix.Munmap(mapped))
	out, err := m.TryUnmount()
	if exitStatus(t, err) != 1 || !strings.Contains(out, "not saved: /mapped: ") || !strings.Contains(out, "; its bytes are in "+dir) ||
		!strings.Contains(out, "kept in files of this machine") {
		t.Errorf("umount: %v\n%s", err, out)
	}
	if err := m.Wait(); err != nil { // who unmounted was told
		t.Errorf("the mount ended with %v", err)
	}
	undo()
	k := salvaged(t, s, dir)["mapped"]
	if !k.Whole {
		t.Errorf("although S3 could be read it is not whole: %+v over %+v", k.Kept, k.Over)
	}
	harness.Equal(t, "mapped", k.content, want)
}

// TestSalvageNeedsForce: where nothing can be kept the mount stays, with all that was
// written, until the reason is gone or --force.
func TestSalvageNeedsForce(t *testing.T) {
	for name, prevent := range map[string]struct {
		by  func(t *testing.T, s *harness.Server, dir string) (undo func())
		say string
	}{
		"KMS": {func(t *testing.T, s *harness.Server, _ string) func() {
			return s.Sandbox.Faults.Add(wire.Fault{Service: "kms", Op: "GenerateDataKey", Kind: wire.Answer, Status: 400, Code: "AccessDeniedException"}).Remove
		}, "that S3 may use the key (kms:ViaService) is not enough"},
		"no directory": {func(t *testing.T, _ *harness.Server, dir string) func() {
			harness.Must(t, os.WriteFile(dir, nil, 0o600))
			return func() { harness.Must(t, os.Remove(dir)) }
		}, "not a directory"},
		"full": {func(t *testing.T, _ *harness.Server, dir string) func() {
			harness.Must(t, os.Mkdir(dir, 0o700))
			harness.Must(t, unix.Mount("kmsfs-test", dir, "tmpfs", 0, "size=128k,mode=0700"))
			t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // undone before, unless the test failed
			return func() { harness.Must(t, unix.Unmount(dir, 0)) }
		}, "no space left on device"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.Sandbox(t)
			dir := filepath.Join(t.TempDir(), "salvage")
			undo := prevent.by(t, s, dir)
			m := s.Mount(t, "--salvage-dir", dir)
			want := secretive(1, 300_000)
			f := openAndWrite(t, m.Path("f"), os.O_CREATE|os.O_WRONLY, 0, want)
			stored := refuseToStore(s)
			out, err := m.TryUnmount()
			if exitStatus(t, err) != 1 || !strings.Contains(out, "its bytes could not be kept either") || !strings.Contains(out, prevent.say) ||
				!strings.Contains(out, "still mounted") || !strings.Contains(out, "--force") {
				t.Errorf("umount: %v\n%s", err, out)
			}
			if strings.Contains(m.Log(), "level=WARN") {
				t.Errorf("the mount warned:\n%s", m.Log())
			}
			undo()
			out, err = m.TryUnmount("--force")
			if exitStatus(t, err) != 1 || !strings.Contains(out, "kept in files of this machine") {
				t.Errorf("umount --force when it could be kept: %v\n%s", err, out)
			}
			m.Wait()
			stored()
			harness.WantErrno(t, "close", f.Close(), syscall.ENOTCONN)
			harness.Equal(t, "content", salvaged(t, s, dir)["f"].content, want)
		})
	}
}

// TestSalvageSaysWhatIsLost: parts that were sent already are in an upload that is
// aborted. The rest is kept, and --force says that not all of it is.
func TestSalvageSaysWhatIsLost(t *testing.T) {
	t.Parallel()
	s := sandboxed(t)
	dir := filepath.Join(t.TempDir(), "salvage")
	m := s.Mount(t, "--salvage-dir", dir, "--part-size", "5MiB")
	want := secretive(1, 17<<20)
	openAndWrite(t, m.Path("stream"), os.O_CREATE|os.O_WRONLY, 0, want)
	awaitOp(t, s, "UploadPart", 2)
	stored := refuseToStore(s)
	out, err := m.TryUnmount()
	if exitStatus(t, err) != 1 || !strings.Contains(out, "10485760 of 17825792 bytes had been sent already and are lost; what is left of it is in "+dir) ||
		!strings.Contains(out, "still mounted") {
		t.Errorf("umount: %v\n%s", err, out)
	}
	out, err = m.TryUnmount("--force")
	if exitStatus(t, err) != 1 || !strings.Contains(out, "was lost") {
		t.Errorf("umount --force: %v\n%s", err, out)
	}
	m.Wait()
	stored()
	k := salvaged(t, s, dir)["stream"]
	if k.Whole || len(k.Lost) != 1 || k.Lost[0].From != 5<<20 || k.Lost[0].To != 15<<20 {
		t.Errorf("%+v", k.Lost)
	}
	harness.Equal(t, "what is left", k.content, append(want[:5<<20:5<<20], want[15<<20:]...))
}
