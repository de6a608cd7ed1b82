package integration

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// TestS3fs has one of kmsfs and Debian's s3fs write a tree and both say what is
// there, each way round. What s3fs 1.90 itself cannot do is left out:
//   - It keeps no device numbers: its own device nodes are all 0, 0.
//   - It takes white space off both ends of symlinks' targets.
//   - It sets ctime to mtime with utimes, and shows no access times of others.
//   - It has no envelope mode: there it would show sealed bytes.
//   - Its multipart uploads ask for no encryption, whatever use_sse says: files
//     here are smaller, for kmsfs refuses to read what it makes so.
func sharedWithS3fs(t *testing.T) {
	s := harness.Sandbox(t)
	same := func(what string, s3fs, kmsfs map[string]string) {
		t.Helper()
		if d := cmp.Diff(s3fs, kmsfs); d != "" {
			t.Errorf("%s: s3fs shows (-), kmsfs shows (+): %s", what, d)
		}
	}
	s3fs := mountS3fs(t, s)
	writeInterop(t, filepath.Join(s3fs.dir, "theirs"))
	theirs := readInterop(t, filepath.Join(s3fs.dir, "theirs"))
	s3fs.unmount()

	m := s.Mount(t)
	same("what s3fs wrote", theirs, readInterop(t, m.Path("theirs")))
	changeInterop(t, m.Path("theirs"))
	writeInterop(t, m.Path("ours"))
	ours := readInterop(t, m.Path("ours"))
	m.Unmount()

	s3fs = mountS3fs(t, s)
	same("what kmsfs wrote", readInterop(t, filepath.Join(s3fs.dir, "ours")), ours)
	changeInterop(t, filepath.Join(s3fs.dir, "ours"))
	changed := readInterop(t, s3fs.dir)
	s3fs.unmount()

	m = s.Mount(t, "--read-only")
	same("what both changed", changed, readInterop(t, m.Dir))
	s.MustBeEncrypted(t)
}

// s3fsMount is a mount of the server's bucket by s3fs.
type s3fsMount struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	log  bytes.Buffer // to be read after done
	done chan struct{}
}

func mountS3fs(t *testing.T, s *harness.Server) *s3fsMount {
	t.Helper()
	bin, err := exec.LookPath("s3fs")
	if err != nil {
		t.Fatalf("%v; install it with scripts/deps", err)
	}
	m := &s3fsMount{t: t, dir: t.TempDir(), done: make(chan struct{})}
	env := map[string]string{}
	for _, v := range s.Env() {
		name, value, _ := bytes.Cut([]byte(v), []byte("="))
		env[string(name)] = string(value)
	}
	secret := filepath.Join(t.TempDir(), "passwd")
	harness.Must(t, os.WriteFile(secret, []byte(env["AWS_ACCESS_KEY_ID"]+":"+env["AWS_SECRET_ACCESS_KEY"]), 0o600))
	m.cmd = exec.Command(bin, s.Bucket, m.dir, "-f", "-o", "url="+s.URL, "-o", "passwd_file="+secret, "-o", "endpoint=us-east-1",
		"-o", "use_path_request_style", "-o", "sigv4", "-o", "use_xattr", "-o", "use_sse=kmsid:"+s.KeyPart, "-o", "retries=2")
	m.cmd.Env = append(os.Environ(), "CURL_CA_BUNDLE="+s.CA())
	m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
	harness.Must(t, m.cmd.Start())
	go func() {
		_ = m.cmd.Wait() // how it ends says nothing: what it wrote is looked at
		close(m.done)
	}()
	t.Cleanup(m.unmount)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); harness.Mounts()[m.dir] == ""; {
		select {
		case <-m.done:
			t.Fatalf("s3fs ended before it mounted:\n%s", &m.log)
		case <-end:
			t.Fatal("s3fs does not mount")
		case <-tick.C:
		}
	}
	return m
}

// unmount ends the mount; a second time it does nothing.
func (m *s3fsMount) unmount() {
	select {
	case <-m.done:
		return
	default:
	}
	err := syscall.Unmount(m.dir, 0)
	if err != nil {
		m.t.Errorf("unmount s3fs: %v", err)
		_ = m.cmd.Process.Kill()
		_ = syscall.Unmount(m.dir, syscall.MNT_DETACH)
	}
	select {
	case <-m.done:
	case <-time.After(patience):
		m.t.Error("s3fs outlives its mount")
		_ = m.cmd.Process.Kill()
	}
}

// writeInterop makes a tree of every kind of node that both keep.
func writeInterop(t *testing.T, root string) {
	t.Helper()
	path := func(name string) string { return filepath.Join(root, name) }
	for _, dir := range []string{"", "plain", "shared", "sub"} {
		harness.Must(t, os.Mkdir(path(dir), 0o755))
	}
	harness.Write(t, path("small"), []byte("small"))
	harness.Write(t, path("empty"), nil)
	harness.Write(t, path("ünïcödé name+%41"), harness.Random(1, 100))
	harness.Write(t, path("sub/large"), harness.Random(2, 3<<20))
	harness.Write(t, path("suid"), harness.Random(3, 5000))
	harness.Must(t, os.Symlink("../some where/ünïcödé", path("link")))
	harness.Must(t, os.Symlink("/", path("sub/absolute")))
	harness.Must(t, syscall.Mkfifo(path("fifo"), 0o640))
	harness.Must(t, syscall.Mknod(path("socket"), syscall.S_IFSOCK|0o600, 0))
	for name, mode := range map[string]uint32{"small": 0o604, "suid": 0o6751, "shared": 0o3775, "plain": 0o711, "fifo": 0o620} {
		harness.Must(t, os.Lchown(path(name), 1234, 5678))
		harness.Must(t, unix.Chmod(path(name), mode))
	}
	harness.Must(t, os.Lchown(path("link"), 1234, 5678))
	for _, name := range []string{"small", "plain"} {
		harness.Must(t, unix.Setxattr(path(name), "user.first", []byte("one"), 0))
		harness.Must(t, unix.Setxattr(path(name), "user.binary", []byte("\x00\xff\n"), 0))
	}
	for i, name := range []string{"small", "empty", "suid", "link", "fifo", "sub/large", "plain", "shared", "sub"} {
		stamp(t, path(name), 981173106+int64(i), 123456789)
	}
	stamp(t, path("socket"), 1, 0)
}

// changeInterop changes a tree of the other's making.
func changeInterop(t *testing.T, root string) {
	t.Helper()
	path := func(name string) string { return filepath.Join(root, name) }
	harness.Must(t, unix.Chmod(path("suid"), 0o2711))
	harness.Must(t, unix.Chmod(path("shared"), 0o1777))
	harness.Must(t, unix.Chmod(path("fifo"), 0o600))
	harness.Must(t, unix.Setxattr(path("plain"), "user.second", []byte("two"), 0))
	harness.Must(t, unix.Removexattr(path("small"), "user.first"))
	stamp(t, path("link"), 17, 5)
	stamp(t, path("plain"), 18, 6)
	harness.Must(t, os.Rename(path("link"), path("moved")))
	harness.Must(t, os.Rename(path("socket"), path("sub/socket")))
	harness.Write(t, path("empty"), []byte("no more"))
	harness.Must(t, os.Remove(path("sub/absolute")))
}

func stamp(t *testing.T, path string, sec, nsec int64) {
	t.Helper()
	when := []unix.Timespec{{Sec: sec}, {Sec: sec, Nsec: nsec}}
	harness.Must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, when, unix.AT_SYMLINK_NOFOLLOW))
}

// readInterop describes every node below root as its mount shows it.
func readInterop(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	harness.Must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		says := fmt.Sprintf("mode %o owner %d:%d mtime %d ctime %d", st.Mode, st.Uid, st.Gid, st.Mtim.Nano(), st.Ctim.Nano())
		switch st.Mode & syscall.S_IFMT {
		case syscall.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			says += fmt.Sprintf(" size %d target %q", st.Size, target)
		case syscall.S_IFREG:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			says += fmt.Sprintf(" size %d content %x", st.Size, sha256.Sum256(content))
		}
		for _, name := range []string{"user.first", "user.second", "user.binary"} {
			value := make([]byte, 100)
			if n, err := unix.Lgetxattr(path, name, value); err == nil {
				says += fmt.Sprintf(" %s=%q", name, value[:n])
			}
		}
		all[path[len(root):]] = says
		return nil
	}))
	return all
}
