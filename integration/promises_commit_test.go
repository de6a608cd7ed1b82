package integration

import (
	"context"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// passing are faults that one repetition overcomes, in both forms.
var passing = map[string]wire.Fault{
	"failed and not applied":            {Kind: wire.Answer, Status: 503, Code: "SlowDown"},
	"failed but applied":                {Kind: wire.AnswerAfter, Status: 500, Code: "InternalError"},
	"connection reset, not applied":     {Kind: wire.ResetBefore},
	"connection reset, but applied":     {Kind: wire.ResetAfter},
	"answer cut after it was applied":   {Kind: wire.CutBody},
	"answer reset after it was applied": {Kind: wire.ResetBody},
}

// creating are the requests of a commit, with a size that needs them.
var creating = map[string]int{
	"PutObject": 100_000, "CreateMultipartUpload": 20 << 20, "UploadPart": 20 << 20, "CompleteMultipartUpload": 20 << 20,
}

func closeDoesNotLie(t *testing.T) {
	for op, size := range creating {
		t.Run(op, func(t *testing.T) {
			s := sandboxed(t)
			m := s.Mount(t)
			for how, fault := range passing {
				if op == "PutObject" && (fault.Kind == wire.CutBody || fault.Kind == wire.ResetBody) {
					continue // its answer has no body
				}
				t.Run(how, func(t *testing.T) {
					old, body := harness.Random(1, 10), harness.Random(2, size)
					harness.Write(t, m.Path(how), old)
					fault.Op, fault.Times = op, 1
					rule := s.Sandbox.Faults.Add(fault)
					harness.Write(t, m.Path(how), body)
					harness.Equal(t, "object", s.Get(t, how), body)
					if rule.Hits() == 0 {
						t.Error("the fault was never met")
					}
				})
			}
			s.MustBeEncrypted(t)
			if op == "CreateMultipartUpload" {
				dropEmptyUploads(t, s)
			}
		})
	}
}

// dropEmptyUploads aborts uploads that have no parts. Where the answer to
// CreateMultipartUpload was lost nobody can tell our upload from one that
// another host has just begun, so it stays, costs nothing, and is left to the
// bucket's lifecycle rule.
func dropEmptyUploads(t testing.TB, s *harness.Server) {
	t.Helper()
	ctx := context.Background()
	out, err := s.S3.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &s.Bucket})
	harness.Must(t, err)
	for _, u := range out.Uploads {
		parts, err := s.S3.ListParts(ctx, &s3.ListPartsInput{Bucket: &s.Bucket, Key: u.Key, UploadId: u.UploadId})
		harness.Must(t, err)
		if len(parts.Parts) > 0 {
			continue
		}
		_, err = s.S3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.Bucket, Key: u.Key, UploadId: u.UploadId})
		harness.Must(t, err)
	}
}

func errorsStick(t *testing.T) {
	s := sandboxed(t)
	m := s.Mount(t)
	old := harness.Random(1, 100)
	harness.Write(t, m.Path("f"), old)
	undo := s.Sandbox.Denials.Deny("s3:PutObject", "")
	f, err := os.OpenFile(m.Path("f"), os.O_WRONLY|os.O_TRUNC, 0)
	harness.Must(t, err)
	second, err := os.OpenFile(m.Path("f"), os.O_WRONLY, 0)
	harness.Must(t, err)
	_, err = f.Write([]byte("new"))
	harness.Must(t, err)
	harness.WantErrno(t, "fsync", f.Sync(), syscall.EACCES)
	undo()
	_, err = f.Write([]byte("more"))
	harness.WantErrno(t, "write after the failure", err, syscall.EACCES)
	harness.WantErrno(t, "fsync after the failure", f.Sync(), syscall.EACCES)
	harness.WantErrno(t, "fsync through another descriptor", second.Sync(), syscall.EACCES)
	harness.WantErrno(t, "close", f.Close(), syscall.EACCES)
	second.Close()
	harness.Want(t, m.Path("f"), old)
	harness.Write(t, m.Path("f"), []byte("fresh"))
	harness.Equal(t, "object", s.Get(t, "f"), []byte("fresh"))
	if text := lastError(t, m); !strings.Contains(text, "AccessDenied") {
		t.Errorf("last_error does not name the cause: %q", text)
	}
}

// lastError reads user.kmsfs.last_error of the mount's root.
func lastError(t testing.TB, m *harness.Mount) string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := syscall.Getxattr(m.Dir, "user.kmsfs.last_error", buf)
	if err != nil {
		t.Fatalf("user.kmsfs.last_error: %v", err)
	}
	return string(buf[:n])
}

// awaitGone waits until a file that could not be saved has left the tree: the
// kernel releases it a moment after close returns.
func awaitGone(t testing.TB, path string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		if _, err := os.Lstat(path); os.IsNotExist(err) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s, which could not be saved, is still shown", path)
		}
	}
}

const sse = "X-Amz-Server-Side-Encryption"

// lies are what a server may answer instead of the required encryption.
var lies = map[string]func(http.Header){
	"says nothing": func(h http.Header) {
		for name := range h {
			if strings.HasPrefix(name, sse) {
				h.Del(name)
			}
		}
	},
	"names another algorithm": func(h http.Header) { h.Set(sse, "AES256") },
	"names another key": func(h http.Header) {
		h.Set(sse+"-Aws-Kms-Key-Id", "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000")
	},
}

func failClosed(t *testing.T) {
	for lie, edit := range lies {
		t.Run("the server "+lie, func(t *testing.T) {
			eachVersioning(t, func(t *testing.T, s *harness.Server) {
				m := s.Mount(t)
				old := harness.Random(1, 1000)
				harness.Write(t, m.Path("bystander"), old)
				for op, size := range map[string]int{"PutObject": 100_000, "CreateMultipartUpload": 20 << 20} {
					rule := s.Sandbox.Faults.Add(wire.Fault{Op: op, Kind: wire.EditHeader, Edit: edit})
					harness.WantErrno(t, op+" of a new file", os.WriteFile(m.Path("new"), harness.Random(2, size), 0o644), syscall.EIO)
					rule.Remove()
					awaitGone(t, m.Path("new"))
					for _, key := range s.Keys(t) {
						if key != "bystander" {
							t.Errorf("%s left %s", op, key)
						}
					}
				}
				harness.Want(t, m.Path("bystander"), old)
				if text := lastError(t, m); !strings.Contains(text, "is required") {
					t.Errorf("last_error: %q", text)
				}
				harness.Write(t, m.Path("new"), old)
				harness.Want(t, m.Path("new"), old)
			})
		})
	}
	t.Run("one lie about a replacement", oneLieAboutReplacement)
	t.Run("lies about an in-place copy", liesAboutCopy)
	t.Run("a lie about a rename", lieAboutRename)
}

// oneLieAboutReplacement: the bytes are still held, so the replacement is
// sent again, and the last good content is never lost.
func oneLieAboutReplacement(t *testing.T) {
	eachVersioning(t, func(t *testing.T, s *harness.Server) {
		m := s.Mount(t)
		harness.Write(t, m.Path("f"), harness.Random(1, 1000))
		rule := s.Sandbox.Faults.Add(wire.Fault{Op: "PutObject", Times: 1, Kind: wire.EditHeader, Edit: lies["names another key"]})
		body := harness.Random(2, 2000)
		harness.Write(t, m.Path("f"), body)
		if rule.Hits() != 1 {
			t.Errorf("the lie was told %d times", rule.Hits())
		}
		harness.Equal(t, "object", s.Get(t, "f"), body)
	})
}

func liesAboutCopy(t *testing.T) {
	eachVersioning(t, func(t *testing.T, s *harness.Server) {
		m := s.Mount(t)
		body := harness.Random(1, 1000)
		harness.Write(t, m.Path("f"), body)
		rule := s.Sandbox.Faults.Add(wire.Fault{Op: "CopyObject", Times: 1, Kind: wire.EditHeader, Edit: lies["says nothing"]})
		chmodNow(t, m.Path("f"), 0o600)
		if rule.Hits() != 1 {
			t.Errorf("the lie was told %d times", rule.Hits())
		}
		harness.Write(t, m.Path("still writable"), nil)

		s.Sandbox.Faults.Add(wire.Fault{Op: "CopyObject", Kind: wire.EditHeader, Edit: lies["says nothing"]})
		if err := tryChmodNow(m.Path("f"), 0o640); err == nil {
			t.Error("a copy that stays wrong is reported as success")
		}
		harness.Want(t, m.Path("f"), body)
		harness.Equal(t, "object", s.Get(t, "f"), body)
		harness.WantErrno(t, "write after a copy that stays wrong", os.WriteFile(m.Path("g"), nil, 0o644), syscall.EROFS)
		s.Sandbox.Faults.Clear()
		if out, _ := m.TryUnmount("--force"); !strings.Contains(out, "f") || !strings.Contains(out, "aws:kms is required") {
			t.Errorf("umount does not say what is wrong: %s", out)
		}
		_ = m.Wait()
	})
}

func lieAboutRename(t *testing.T) {
	eachVersioning(t, func(t *testing.T, s *harness.Server) {
		m := s.Mount(t)
		body := harness.Random(1, 1000)
		harness.Write(t, m.Path("f"), body)
		s.Sandbox.Faults.Add(wire.Fault{Op: "CopyObject", Kind: wire.EditHeader, Edit: lies["says nothing"]})
		harness.WantErrno(t, "rename", os.Rename(m.Path("f"), m.Path("g")), syscall.EIO)
		s.Sandbox.Faults.Clear()
		harness.Want(t, m.Path("f"), body)
		if keys := s.Keys(t); len(keys) != 1 || keys[0] != "f" {
			t.Errorf("keys %q, want f alone", keys)
		}
	})
}

// chmodNow changes a mode and has it written.
func chmodNow(t testing.TB, path string, mode os.FileMode) {
	t.Helper()
	harness.Must(t, tryChmodNow(path, mode))
}

func tryChmodNow(path string, mode os.FileMode) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chmod(mode); err != nil {
		return err
	}
	return f.Sync()
}

func bucketKeyMayDiffer(t *testing.T) {
	s := sandboxed(t)
	m := s.Mount(t)
	s.Sandbox.Faults.Add(wire.Fault{Op: "PutObject", Kind: wire.EditHeader, Edit: func(h http.Header) { h.Del(sse + "-Bucket-Key-Enabled") }})
	harness.Write(t, m.Path("f"), []byte("x"))
	harness.Write(t, m.Path("g"), []byte("x"))
	m.Unmount()
	if n := strings.Count(m.Log(), "bucket key"); n != 1 {
		t.Errorf("the log warns %d times about the bucket key, want once:\n%s", n, m.Log())
	}
	if s.Head(t, "f").ServerSideEncryption != types.ServerSideEncryptionAwsKms {
		t.Error("f is not under SSE-KMS")
	}
}
