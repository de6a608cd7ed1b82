package security

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/s3io"
)

// evil is part of names and metadata that would drive a terminal.
const evil = "\x1b]0;owned\x07\u202e"

// hostileKeys are what somebody with write access may name objects.
var hostileKeys = []string{
	"../../etc/passwd", "..", ".", "a/../../b", "/abs", "//", "a\x00b", evil, "line\nlevel=ERROR msg=forged",
	"\u201b:%2E%2E", "\u201b:..", strings.Repeat("x", 300), ".kmsfs/open/x/y", ".kmsfs/rewrap/z", "-rf", "a\\b", "dir/\u201bobject",
}

// TestHostileBucket: whatever objects are called and say of themselves, nothing
// that the mount shows leads out of it, gives rights, or drives a terminal.
func TestHostileBucket(t *testing.T) {
	t.Parallel()
	s := harness.Sandbox(t).In(t, harness.Both)
	s.Plain = true
	for _, key := range hostileKeys {
		s.Put(t, key, []byte("planted"), func(in *s3.PutObjectInput) {
			in.Metadata = map[string]string{"mode": "36333", "uid": "0", "gid": "0", "mtime": "99999999999999999999", "xattr": "%zz", "kmsfs-h": "!"}
		})
	}
	s.Put(t, "suid", []byte("#!/bin/sh\n"), func(in *s3.PutObjectInput) { in.Metadata = map[string]string{"mode": "36333", "uid": "0"} }) // 0106755
	s.Put(t, "device", nil, func(in *s3.PutObjectInput) { in.Metadata = map[string]string{"mode": "8630", "rdev": "103"} })               // /dev/null
	s.Put(t, "link", []byte("/etc/hostname"), func(in *s3.PutObjectInput) { in.Metadata = map[string]string{"mode": "41471"} })
	s.Put(t, "intact", []byte("intact"))
	m := s.Mount(t, "--log-level", "debug")
	seen := 0
	harness.Must(t, filepath.WalkDir(m.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == m.Dir {
			return err
		}
		seen++
		if name := d.Name(); strings.ContainsAny(name, "/\x00") || name == "." || name == ".." || name == ".kmsfs" {
			t.Errorf("%q is shown", path)
		}
		if d.Type().IsRegular() {
			_, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, syscall.EKEYREJECTED) {
				t.Errorf("read %q: %v", path, err)
			}
		}
		return nil
	}))
	if seen < len(hostileKeys)-5 {
		t.Errorf("only %d entries are shown", seen)
	}
	harness.Want(t, m.Path("intact"), []byte("intact"))
	if target, err := os.Readlink(m.Path("link")); err != nil || target != "/etc/hostname" {
		t.Errorf("the link says %q, %v", target, err) // it is whoever follows it that opens the target
	}
	if f, err := os.OpenFile(m.Path("device"), os.O_WRONLY, 0); err == nil {
		f.Close()
		t.Error("a device node of the bucket works")
	}
	options, err := os.ReadFile("/proc/self/mounts")
	harness.Must(t, err)
	for line := range strings.Lines(string(options)) {
		if strings.Contains(line, " "+m.Dir+" ") && (!strings.Contains(line, "nosuid") || !strings.Contains(line, "nodev")) {
			t.Errorf("suid bits or devices have an effect: %s", line)
		}
	}
	for _, args := range [][]string{{"inspect", m.Path(evil)}, {"inspect", m.Path(evil + "absent")}, append([]string{"inspect", s.Target() + evil}, s.Connection()...)} {
		out, _ := s.Run(t, args...)
		quiet(t, "kmsfs inspect", out)
	}
	m.Unmount()
	quiet(t, "the log", m.Log())
	if strings.Contains(m.Log(), "\nlevel=ERROR") {
		t.Error("a name forged a line of the log")
	}
}

// quiet fails the test if text could drive a terminal.
func quiet(t *testing.T, where, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if s3io.Printable(line) != line {
			t.Errorf("%s drives a terminal: %q", where, line)
		}
	}
}

// TestLimits shows what the model says that envelope mode does not notice, so
// that the document does not promise too little for long either.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := harness.Sandbox(t).In(t, harness.Envelope)
	s.Plain = true
	m := s.Mount(t, "--attr-ttl", "0")
	old, now := []byte("the old salary"), []byte("the new salary")
	harness.Write(t, m.Path("a"), old)
	harness.Write(t, m.Path("b"), now)
	a, b := s.Raw(t, "a"), s.Raw(t, "b")
	t.Run("rollback", func(t *testing.T) {
		harness.Write(t, m.Path("a"), now)
		s.PutRaw(t, "a", a)
		harness.Want(t, m.Path("a"), old)
	})
	t.Run("swap", func(t *testing.T) {
		s.PutRaw(t, "a", b)
		s.PutRaw(t, "b", a)
		harness.Want(t, m.Path("a"), now)
		harness.Want(t, m.Path("b"), old)
	})
	t.Run("metadata", func(t *testing.T) {
		s.PutRaw(t, "c", a, func(in *s3.PutObjectInput) { in.Metadata = map[string]string{"mode": "33279"} })
		info, err := os.Stat(m.Path("c"))
		harness.Must(t, err)
		if info.Mode().Perm() != 0o777 {
			t.Errorf("mode %v", info.Mode())
		}
	})
	t.Run("sizes and names", func(t *testing.T) {
		for _, key := range s.Keys(t) {
			if plain, ok := crypto.PlainSize(int64(len(s.Raw(t, key)))); !ok || plain != int64(len(old)) {
				t.Errorf("%s tells %d bytes", key, plain)
			}
		}
		if !bytes.Contains([]byte(strings.Join(s.Keys(t), " ")), []byte("a b c")) {
			t.Errorf("keys are %q", s.Keys(t))
		}
	})
}
