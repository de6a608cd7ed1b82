package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/kms"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// sizesOfFiles are one request and several parts.
var sizesOfFiles = map[string]int{"small": 100_000, "large": 20 << 20}

func writeSizes(t *testing.T, m *harness.Mount) {
	t.Helper()
	for name, size := range sizesOfFiles {
		harness.Write(t, m.Path(name), harness.Random(uint64(size), size))
	}
}

func wantSizes(t *testing.T, m *harness.Mount) {
	t.Helper()
	for name, size := range sizesOfFiles {
		harness.Want(t, m.Path(name), harness.Random(uint64(size), size))
	}
}

// wantRejected fails unless every file is refused without a question to KMS.
func wantRejected(t *testing.T, s *harness.Server, m *harness.Mount, errno syscall.Errno) {
	t.Helper()
	s.Sandbox.Log.Reset()
	for name, size := range sizesOfFiles {
		_, err := os.ReadFile(m.Path(name))
		harness.WantErrno(t, "read "+name, err, errno)
		if info, err := os.Stat(m.Path(name)); err != nil || info.Size() != int64(size) {
			t.Errorf("stat %s: %v, %v", name, info, err)
		}
	}
	if n := s.Sandbox.Log.Count("Decrypt"); n != 0 {
		t.Errorf("KMS was asked %d times", n)
	}
}

// Data keys are wrapped under each key of the mount, so that a host which may
// use any of them can read.
func severalKeys(t *testing.T) {
	s := harness.Sandbox(t).In(t, harness.Envelope)
	far, err := s.Sandbox.KMS.CreateKey(kms.KeyOptions{Region: "eu-west-1"})
	harness.Must(t, err)
	shared, err := s.Sandbox.KMS.CreateKey(kms.KeyOptions{Account: "999988887777", Policy: sharing})
	harness.Must(t, err)
	m := s.Mount(t, "--envelope-key-id", far, "--envelope-key-id", shared)
	writeSizes(t, m)
	m.Unmount()
	h, err := crypto.ParseHeader(s.Raw(t, "small"))
	harness.Must(t, err)
	if len(h.EDKs) != 3 {
		t.Errorf("%d wrapped data keys, want 3", len(h.EDKs))
	}
	harness.Must(t, s.Sandbox.KMS.Disable(s.EnvelopeKey))
	for _, key := range []string{far, shared} {
		other := *s.OtherHost()
		other.EnvelopeKey = key
		wantSizes(t, other.Mount(t))
	}
	other := *s.OtherHost()
	other.EnvelopeKey = s.Sandbox.KMS.KeyARN(sandbox.KeyAlias)
	wantRejected(t, s, other.Mount(t), syscall.EKEYREJECTED)
	wantSizes(t, other.OtherHost().Mount(t, "--allow-key-id", far))
}

// Objects are bound to their bucket. Copies of it are read on request.
func acceptContextBucket(t *testing.T) {
	s := harness.Sandbox(t).In(t, harness.Envelope)
	writeSizes(t, s.Mount(t))
	replica := *s.OtherHost()
	replica.Bucket = "replica"
	_, err := s.S3.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: &replica.Bucket})
	harness.Must(t, err)
	for name := range sizesOfFiles {
		_, err := s.S3.CopyObject(context.Background(), &s3.CopyObjectInput{Bucket: &replica.Bucket, Key: &name, CopySource: aws.String(s.Bucket + "/" + name)})
		harness.Must(t, err)
	}
	wantRejected(t, s, replica.Mount(t), syscall.EKEYREJECTED)
	m := replica.OtherHost().Mount(t, "--accept-context-bucket", s.Bucket)
	wantSizes(t, m)
	harness.Write(t, m.Path("new"), []byte("bound to the replica"))
	m.Unmount()
	harness.Want(t, replica.OtherHost().Mount(t).Path("new"), []byte("bound to the replica"))
}

// A backup host needs no right to read what it, or another one, wrote.
func writeOnlyHost(t *testing.T) {
	s := harness.Sandbox(t).In(t, harness.Envelope)
	defer s.Sandbox.Denials.Deny("kms:Decrypt", s.EnvelopeKey)()
	m := s.Mount(t, "--write-only")
	writeSizes(t, m)
	harness.Must(t, os.Mkdir(m.Path("d"), 0o755))
	harness.Must(t, os.Rename(m.Path("small"), m.Path("d/small")))
	harness.Must(t, os.Rename(m.Path("d/small"), m.Path("small")))
	harness.Write(t, m.Path("small"), []byte("replaced"))
	writeSizes(t, m)
	m.Unmount()
	m = s.Mount(t, "--write-only")
	for name := range sizesOfFiles {
		_, err := os.ReadFile(m.Path(name))
		harness.WantErrno(t, "read "+name, err, syscall.EACCES)
	}
	if n := s.Sandbox.Log.Count("Decrypt"); n != 0 {
		t.Errorf("KMS was asked %d times", n)
	}
	m.Unmount()
	dir := t.TempDir()
	out, err := s.Run(t, append([]string{"mount", s.Target(), dir, "--state-dir", t.TempDir()}, s.Flags()...)...)
	if err == nil || !strings.Contains(out, "kms:Decrypt") || !strings.Contains(out, "--write-only") {
		t.Errorf("mounting without the right to decrypt: %v\n%s", err, out)
	}
	s.Sandbox.Denials.Clear()
	wantSizes(t, s.OtherHost().Mount(t))
}

// A host without rights of its own works with a grant for this bucket alone,
// as soon as it shows the token.
func grants(t *testing.T) {
	s := harness.Sandbox(t).In(t, harness.Envelope)
	admin := wire.Identity{AccessKey: "admin", SecretKey: "admin-secret", ARN: "arn:aws:iam::" + sandbox.Account + ":user/admin"}
	key, err := s.Sandbox.KMS.CreateKey(kms.KeyOptions{Policy: strings.Replace(sharing, `"*"`, `"`+admin.ARN+`"`, 1)})
	harness.Must(t, err)
	grant, err := s.KMSAs(t, admin).CreateGrant(context.Background(), &awskms.CreateGrantInput{
		KeyId: &key, GranteePrincipal: aws.String(sandbox.UserARN),
		Operations:  []types.GrantOperation{types.GrantOperationGenerateDataKey, types.GrantOperationDecrypt},
		Constraints: &types.GrantConstraints{EncryptionContextSubset: map[string]string{"aws:s3:arn": "arn:aws:s3:::" + s.Bucket}},
	})
	harness.Must(t, err)
	s.EnvelopeKey = key
	m := s.Mount(t, "--kms-grant-token", *grant.GrantToken)
	writeSizes(t, m)
	m.Unmount()
	wantSizes(t, s.Mount(t, "--kms-grant-token", *grant.GrantToken))
	other := s.OtherHost()
	out, err := other.Run(t, append([]string{"mount", s.Target(), t.TempDir(), "--state-dir", t.TempDir()}, other.Flags()...)...)
	if err == nil || !strings.Contains(out, "kms:GenerateDataKey") {
		t.Errorf("mounting without the grant: %v\n%s", err, out)
	}
}

// Bound to their names, files are sealed anew by rename; directories and large
// files are left to mv, which copies.
func objectScope(t *testing.T) {
	s := harness.Sandbox(t).In(t, harness.Envelope)
	m := s.Mount(t, "--context-scope", "object")
	harness.Must(t, os.MkdirAll(m.Path("a/b"), 0o755))
	for name, size := range sizesOfFiles {
		harness.Write(t, m.Path("a/b", name), harness.Random(uint64(size), size))
		harness.Must(t, os.Rename(m.Path("a/b", name), m.Path("a/b", name+"-renamed")))
	}
	harness.WantErrno(t, "rename of a directory", syscall.Rename(m.Path("a"), m.Path("c")), syscall.EXDEV)
	if out, err := exec.Command("mv", m.Path("a"), m.Path("c")).CombinedOutput(); err != nil {
		t.Fatalf("mv: %v\n%s", err, out)
	}
	body := harness.Random(3, 65<<20)
	harness.Write(t, m.Path("huge"), body)
	harness.WantErrno(t, "rename of a large file", syscall.Rename(m.Path("huge"), m.Path("c/huge")), syscall.EXDEV)
	if out, err := exec.Command("mv", m.Path("huge"), m.Path("c/huge")).CombinedOutput(); err != nil {
		t.Fatalf("mv: %v\n%s", err, out)
	}
	m.Unmount()
	m = s.Mount(t, "--context-scope", "object")
	for name, size := range sizesOfFiles {
		harness.Want(t, m.Path("c/b", name+"-renamed"), harness.Random(uint64(size), size))
	}
	harness.Want(t, m.Path("c/huge"), body)
	if got := harness.Names(t, m.Dir); len(got) != 1 {
		t.Errorf("names %q, want c alone", got)
	}
	// Whoever exchanges two objects in the bucket is noticed.
	one, two := s.Raw(t, "c/b/small-renamed"), s.Raw(t, "c/b/large-renamed")
	s.PutRaw(t, "c/b/small-renamed", two)
	s.PutRaw(t, "c/b/large-renamed", one)
	m.Unmount()
	m = s.Mount(t, "--context-scope", "object")
	for name := range sizesOfFiles {
		_, err := os.ReadFile(m.Path("c/b", name+"-renamed"))
		harness.WantErrno(t, "read of an exchanged object", err, syscall.EKEYREJECTED)
	}
	s.MustBeEncrypted(t)
}

// Objects that nobody sealed are shown with their size, refused, and replaced.
func foreignObjects(t *testing.T) {
	s := harness.Sandbox(t).In(t, harness.Envelope)
	for name, size := range sizesOfFiles {
		s.PutRaw(t, name, harness.Random(uint64(size), size))
	}
	m := s.Mount(t)
	wantRejected(t, s, m, syscall.EKEYREJECTED)
	reader := s.OtherHost().Mount(t, "--foreign", "read-only")
	wantSizes(t, reader)
	_, err := os.OpenFile(reader.Path("small"), os.O_WRONLY|os.O_APPEND, 0)
	harness.WantErrno(t, "append", err, syscall.EROFS)
	writeSizes(t, m)
	wantSizes(t, m)
	s.MustBeEncrypted(t)
}

// After rekey the old key can go: objects stay as they are.
func rekey(t *testing.T) {
	s := harness.Sandbox(t).In(t, harness.Envelope)
	m := s.Mount(t)
	writeSizes(t, m)
	harness.Must(t, syscall.Setxattr(m.Path("small"), "user.origin", []byte("kept"), 0))
	m.Unmount()
	before := s.Raw(t, "small")
	fresh, err := s.Sandbox.KMS.CreateKey(kms.KeyOptions{})
	harness.Must(t, err)
	rekeyed := *s.OtherHost()
	rekeyed.EnvelopeKey = fresh
	wantRejected(t, s, rekeyed.Mount(t), syscall.EKEYREJECTED)
	out, err := s.Run(t, append([]string{"rekey", s.Target(), "--to", fresh, "--sse", "none"}, s.Connection()...)...)
	if err != nil {
		t.Fatalf("kmsfs rekey: %v\n%s", err, out)
	}
	harness.Equal(t, "object after rekey", s.Raw(t, "small"), before)
	harness.Must(t, s.Sandbox.KMS.Disable(s.EnvelopeKey))
	m = rekeyed.OtherHost().Mount(t)
	wantSizes(t, m)
	value := make([]byte, 10)
	n, err := syscall.Getxattr(m.Path("small"), "user.origin", value)
	if err != nil || string(value[:n]) != "kept" {
		t.Errorf("xattr after rekey: %q, %v", value[:max(n, 0)], err)
	}
	harness.Must(t, os.Rename(m.Path("small"), m.Path("renamed")))
	harness.Want(t, m.Path("renamed"), harness.Random(100_000, 100_000))
	if names := harness.Names(t, m.Dir); len(names) != 2 {
		t.Errorf("names %q: what rekey keeps must be hidden", names)
	}
}

// Without a mount, one object is opened with the right to kms:Decrypt alone.
func decryptWithoutMount(t *testing.T) {
	s := harness.Sandbox(t).In(t, harness.Envelope)
	writeSizes(t, s.Mount(t))
	for name, size := range sizesOfFiles {
		out := filepath.Join(t.TempDir(), name)
		if said, err := s.Run(t, append([]string{"decrypt", s.Target() + name, "-o", out}, s.Connection()...)...); err != nil {
			t.Fatalf("kmsfs decrypt: %v\n%s", err, said)
		}
		harness.Want(t, out, harness.Random(uint64(size), size))
		bad := s.Raw(t, name)
		bad[len(bad)-1] ^= 1
		s.PutRaw(t, "bad-"+name, bad)
		said, err := s.Run(t, append([]string{"decrypt", s.Target() + "bad-" + name, "-o", out + "-bad"}, s.Connection()...)...)
		if _, there := os.Stat(out + "-bad"); err == nil || there == nil {
			t.Errorf("kmsfs decrypt opened a tampered object: %v\n%s", err, said)
		}
	}
}
