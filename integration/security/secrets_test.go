package security

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// token is what temporary credentials have besides key and secret.
const token = "FwoGZXIvYXdzEXAMPLE-session-token-0123456789"

// mounted is a mount that logs everything, in both modes at once.
type mounted struct {
	*harness.Mount
	t       *testing.T
	s       *harness.Server
	content []byte
	secrets map[string][]byte // by what they are
}

func mountLoudly(t *testing.T) *mounted {
	s := harness.Sandbox(t).In(t, harness.Both)
	s.Plain = true
	s.Setenv("AWS_SESSION_TOKEN", token)
	v := &mounted{t: t, s: s, content: harness.Random(1, 9<<20), secrets: map[string][]byte{
		"secret access key": []byte(sandbox.SecretKey), "session token": []byte(token),
		"signature": []byte("Signature="), "signed header": []byte("AWS4-HMAC"),
		"presigned URL": []byte("X-Amz-Signature"), "token header": []byte("X-Amz-Security-Token"),
	}}
	v.secrets["content"] = v.content[1<<20:][:16]
	v.secrets["small content"] = v.content[100:116]
	s.Put(t, "flipped", v.content[:3000])
	v.Mount = s.Mount(t, "--log-level", "debug", "--memory", "32MiB", "--timeout", "5s")
	return v
}

// dataKey adds the data key of an object, and how KMS wrapped it, to what must
// not be seen.
func (v *mounted) dataKey(key string) (wrapped []byte) {
	v.t.Helper()
	h, err := crypto.ParseHeader(v.s.Raw(v.t, key))
	harness.Must(v.t, err)
	client := v.s.KMSAs(v.t, wire.Identity{AccessKey: sandbox.AccessKey, SecretKey: sandbox.SecretKey, ARN: sandbox.UserARN})
	out, err := client.Decrypt(context.Background(), &kms.DecryptInput{
		KeyId: &h.EDKs[0].Info, CiphertextBlob: h.EDKs[0].Blob, EncryptionContext: h.Context()})
	harness.Must(v.t, err)
	v.secrets["data key"] = out.Plaintext
	return h.EDKs[0].Blob
}

// see fails the test if text has a secret in it, as it is or in a usual form.
func (v *mounted) see(where string, text []byte) {
	v.t.Helper()
	for what, secret := range v.secrets {
		for form, bytesOf := range map[string][]byte{
			"": secret, " in hexadecimal": []byte(hex.EncodeToString(secret)), " in base64": []byte(base64.RawStdEncoding.EncodeToString(secret))[:len(secret)*4/3],
			" quoted": []byte(strings.Trim(fmt.Sprintf("%q", secret), `"`)),
		} {
			if bytes.Contains(text, bytesOf) {
				v.t.Errorf("%s has the %s%s", where, what, form)
			}
		}
	}
}

// use makes every kind of request, and of failure.
func (v *mounted) use() {
	t := v.t
	harness.Write(t, v.Path("small"), v.content[:3000])
	harness.Write(t, v.Path("large"), v.content)
	harness.Must(t, os.Rename(v.Path("large"), v.Path("moved")))
	harness.Must(t, os.Chmod(v.Path("moved"), 0o600))
	harness.Must(t, syscall.Setxattr(v.Path("small"), "user.secret", v.content[100:200], 0))
	harness.Want(t, v.Path("moved"), v.content)
	fail := func(what string, f wire.Fault, do func(path string) error) {
		rule := v.s.Sandbox.Faults.Add(f)
		defer rule.Remove()
		if err := do(v.Path(what)); err == nil {
			t.Errorf("%s succeeded", what)
		}
	}
	write := func(path string) error { return os.WriteFile(path, v.content[:3000], 0o644) }
	read := func(path string) error { _, err := os.ReadFile(path); return err }
	for _, code := range []string{"AccessDenied", "SignatureDoesNotMatch", "ExpiredToken", "InvalidAccessKeyId", "KMS.DisabledException"} {
		fail("write "+code, wire.Fault{Op: "PutObject", Kind: wire.Answer, Status: 403, Code: code}, write)
		fail("flipped", wire.Fault{Op: "GetObject", Kind: wire.Answer, Status: 403, Code: code}, read)
	}
	fail("redirected", wire.Fault{Op: "PutObject", Kind: wire.Answer, Status: 307, Code: "TemporaryRedirect"}, write)
	fail("flipped", wire.Fault{Op: "GetObject", Kind: wire.FlipByte, Cut: 1000}, read)
	list := func(path string) error { _, err := os.ReadDir(path); return err }
	fail("", wire.Fault{Op: "ListObjectsV2", Kind: wire.ResetBefore}, list) // until the deadline
}

// TestSecretsAreNotShown: neither the log with everything in it, nor what any
// command says, nor what lies on the disk or can be asked of the kernel has
// credentials, signatures, data keys or content.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	v := mountLoudly(t)
	var signed atomic.Int64
	defer v.s.Sandbox.Taps.Add(func(_ wire.Call, r *http.Request) io.Writer {
		if r.Header.Get("X-Amz-Security-Token") == token {
			signed.Add(1)
		}
		return nil
	})()
	v.use()
	if signed.Load() == 0 {
		t.Error("no request had the token: this test proves nothing")
	}
	wrapped := v.dataKey("moved")
	for _, args := range [][]string{
		{"inspect", "--verify=full", v.Path("moved")}, {"inspect", "--json", v.Path("moved")},
		append([]string{"inspect", v.s.Target() + "small"}, v.s.Connection()...),
		append([]string{"doctor", v.s.Target()}, v.s.Flags()...),
		{"stats", v.Dir}, {"stats", "--json", v.Dir}, {"ctl", v.Dir, "drain"}, {"inspect", v.Path("redirected")},
	} {
		out, err := v.s.Run(t, args...)
		if len(out) == 0 && err != nil {
			t.Errorf("%v: %v", args, err)
		}
		v.see("kmsfs "+strings.Join(args[:1], " "), []byte(out))
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", v.PID()))
	harness.Must(t, err)
	v.see("the command line", cmdline)
	value := make([]byte, 64<<10)
	if n, err := syscall.Getxattr(v.Dir, "user.kmsfs.last_error", value); err == nil {
		v.see("user.kmsfs.last_error", value[:n])
	}
	v.Unmount()
	log := []byte(v.Log())
	v.see("the log", log)
	for _, said := range []string{"level=DEBUG", "SignatureDoesNotMatch", "307", "authentication", "connection reset"} {
		if !bytes.Contains(log, []byte(said)) {
			t.Errorf("the log does not say %q: this test proves nothing", said)
		}
	}
	v.secrets["wrapped data key"] = wrapped[len(wrapped)-32:]
	harness.Must(t, filepath.WalkDir(v.State, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		v.see(path, text)
		return err
	}))
	v.see("the log", log)
}

// TestFilesOfAMountArePrivate: what a mount makes on this machine can be read
// and entered by its user alone, whatever the umask.
func TestFilesOfAMountArePrivate(t *testing.T) {
	s := harness.Sandbox(t)
	s.Plain = true
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	spool := filepath.Join(t.TempDir(), "spool")
	harness.Must(t, os.Mkdir(spool, 0o777))
	log := filepath.Join(t.TempDir(), "log")
	m := s.Mount(t, "--spool-dir", spool)
	harness.Write(t, m.Path("f"), harness.Random(1, 20<<20))
	private := func(path string) {
		info, err := os.Lstat(path)
		harness.Must(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	harness.Must(t, filepath.WalkDir(m.State, func(path string, _ os.DirEntry, err error) error {
		if path != m.State { // which the harness made
			private(path)
		}
		return err
	}))
	fds := fmt.Sprintf("/proc/%d/fd", m.PID())
	entries, err := os.ReadDir(fds)
	harness.Must(t, err)
	for _, e := range entries {
		path := filepath.Join(fds, e.Name())
		target, _ := os.Readlink(path)
		if info, err := os.Stat(path); err == nil && strings.HasPrefix(target, spool) && info.Mode().Perm() != 0o600 {
			t.Errorf("the spool %s has mode %v", target, info.Mode())
		}
	}
	m.Unmount()
	background := t.TempDir()
	out, err := s.Run(t, append([]string{"mount", s.Target(), background, "--log-file", log, "--state-dir", filepath.Join(t.TempDir(), "new")}, s.Flags()...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err = s.Run(t, "umount", background)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	private(log)
}

// TestChildrenGetNoCredentials: helpers of mount and unmount see nothing of the
// environment.
func TestChildrenGetNoCredentials(t *testing.T) {
	for _, name := range []string{"fs/mount_linux.go", "cmd/kmsfs/mounts_linux.go"} {
		text, err := os.ReadFile(filepath.Join(harness.Root(), name))
		harness.Must(t, err)
		if n, clean := bytes.Count(text, []byte("exec.Command(")), bytes.Count(text, []byte("cmd.Env = []string{}")); n != clean || n == 0 {
			t.Errorf("%s starts %d programs, %d of them with a clean environment", name, n, clean)
		}
	}
}
