package integration

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// rejected is a file that other programs stored, not as the mount requires.
type rejected struct{ name, why string }

// plantRejected stores objects under no KMS key and under another one. In
// envelope mode they are sealed as they should be.
func plantRejected(t *testing.T, s *harness.Server) []rejected {
	other := s.Sandbox.KMS.KeyARN(sandbox.OtherAlias)
	weak := func(in *s3.PutObjectInput) {
		in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAes256, nil
	}
	foreign := func(in *s3.PutObjectInput) { in.SSEKMSKeyId = &other }
	for name, size := range map[string]int{"": 100, "-large": 9 << 20} {
		s.Put(t, "weak"+name, harness.Random(1, size), weak)
		s.Put(t, "foreign"+name, harness.Random(1, size), foreign)
	}
	return []rejected{{"weak", "AES256"}, {"foreign", "--allow-key-id " + other}, {"weak-large", "AES256"}, {"foreign-large", "--allow-key-id " + other}}
}

func encryptionIsRequired(t *testing.T) {
	t.Run("enforce", readingIsRefused)
	t.Run("warn", readingIsWarnedOf)
}

// What S3 does not protect as the mount requires is listed, replaced, renamed
// and deleted, and its content is refused.
func readingIsRefused(t *testing.T) {
	s := sandboxed(t)
	s.Sandbox.S3.Expect(nil)
	all := plantRejected(t, s)
	m := s.Mount(t)
	uniform := s.OtherHost().Mount(t, "--posix-attrs=off", "--read-only", "--attr-ttl=10m")
	harness.Names(t, uniform.Dir)
	for _, r := range all {
		path := m.Path(r.name)
		_, err := os.ReadFile(path)
		harness.WantErrno(t, "read "+r.name, err, syscall.EKEYREJECTED)
		_, err = os.ReadFile(uniform.Path(r.name)) // of which only its listing is known
		harness.WantErrno(t, "read "+r.name+" without attributes", err, syscall.EKEYREJECTED)
		for _, text := range []string{r.why, "--require-encryption warn"} {
			if said := lastError(t, m); !strings.Contains(said, text) {
				t.Errorf("the error of %s does not say %q: %s", r.name, text, said)
			}
		}
		harness.WantErrno(t, "append to "+r.name, appendByte(path), syscall.EKEYREJECTED)
		harness.WantErrno(t, "truncate "+r.name, os.Truncate(path, 50), syscall.EKEYREJECTED)
		if info, err := os.Stat(path); err != nil || info.Size() < 100 {
			t.Errorf("stat %s: %v", r.name, err)
		}
	}
	if names := harness.Names(t, m.Dir); len(names) != len(all) {
		t.Errorf("ls shows %q", names)
	}
	// A copy comes under the policy, and that is logged.
	harness.Must(t, os.Rename(m.Path("weak"), m.Path("moved")))
	harness.Want(t, m.Path("moved"), harness.Random(1, 100))
	harness.Must(t, os.Chmod(m.Path("foreign-large"), 0o600))
	m.Unmount()
	if n := strings.Count(m.Log(), "comes under the mount's policy"); n != 2 {
		t.Errorf("%d copies are named in the log:\n%s", n, m.Log())
	}
	m = s.Mount(t)
	harness.Want(t, m.Path("foreign-large"), harness.Random(1, 9<<20))
	harness.Write(t, m.Path("foreign"), []byte("replaced"))
	harness.Want(t, m.Path("foreign"), []byte("replaced"))
	harness.Must(t, os.Remove(m.Path("weak-large")))
	m.Unmount()
	s.MustBeEncrypted(t)
}

// appendByte opens a file, adds to its end and closes it.
func appendByte(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte("x")); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// Requiring less costs warnings, one for each object, or nothing. Neither costs
// requests.
func readingIsWarnedOf(t *testing.T) {
	s := sandboxed(t)
	s.Sandbox.S3.Expect(nil)
	all := plantRejected(t, s)
	gets := map[harness.Mode]int{harness.SSE: 1, harness.Both: 2}[s.Mode] // these have their header not in their metadata
	for flag, warnings := range map[string]int{"--require-encryption=warn": len(all), "--require-encryption=off": 0} {
		m := s.Mount(t, flag)
		for range 2 {
			for _, r := range all[:2] {
				s.Sandbox.Log.Reset()
				harness.Want(t, m.Path(r.name), harness.Random(1, 100))
				if n := s.Sandbox.Log.Count("GetObject"); n > gets {
					t.Errorf("%s: reading %s took %d GETs", flag, r.name, n)
				}
			}
			for _, r := range all[2:] {
				harness.Want(t, m.Path(r.name), harness.Random(1, 9<<20))
			}
		}
		m.Unmount()
		if n := strings.Count(m.Log(), "not protected as required"); n != warnings {
			t.Errorf("%s: %d warnings of %d objects:\n%s", flag, n, len(all), m.Log())
		}
	}
	m := s.Mount(t, "--allow-key-id", sandbox.OtherAlias)
	harness.Want(t, m.Path("foreign"), harness.Random(1, 100))
	_, err := os.ReadFile(m.Path("weak"))
	harness.WantErrno(t, "read of what no key protects", err, syscall.EKEYREJECTED)
}

// An open file whose name is taken away is not copied to where it could be read.
func TestUnlinkMakesNothingReadable(t *testing.T) {
	s := harness.Sandbox(t)
	s.Sandbox.S3.Expect(nil)
	plantRejected(t, s)
	m := s.Mount(t, "--posix-attrs=off", "--attr-ttl=10m")
	harness.Names(t, m.Dir) // from now on only what a listing tells is known
	f, err := os.Open(m.Path("weak-large"))
	harness.Must(t, err)
	defer f.Close()
	harness.Must(t, os.Remove(m.Path("weak-large")))
	if _, err := f.ReadAt(make([]byte, 10), 0); err == nil {
		t.Error("unlinking made it readable")
	}
	if n := s.Sandbox.Log.Count("CopyObject"); n != 0 {
		t.Errorf("%d copies", n)
	}
}

// What the mount itself would create it reads: under AES256 whatever S3
// encrypts, under the bucket's default what that is, in envelope mode what is
// sealed.
func TestWhatOtherPoliciesRead(t *testing.T) {
	s := harness.Sandbox(t)
	s.Sandbox.S3.Expect(nil)
	plantRejected(t, s)
	one := *s
	one.Key = ""
	aes := one.Mount(t, "--sse", "AES256")
	harness.Want(t, aes.Path("weak"), harness.Random(1, 100))
	harness.Want(t, aes.Path("foreign"), harness.Random(1, 100))
	_, err := s.S3.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{Bucket: &s.Bucket,
		ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
			ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAwsKms,
				KMSMasterKeyID: aws.String(s.Sandbox.KMS.KeyARN(sandbox.OtherAlias))}}}}})
	harness.Must(t, err)
	def := one.Mount(t, "--sse", "bucket-default")
	harness.Want(t, def.Path("foreign"), harness.Random(1, 100))
	_, err = os.ReadFile(def.Path("weak"))
	harness.WantErrno(t, "read of what is not under the bucket's key", err, syscall.EKEYREJECTED)
	managed := one.Mount(t)
	harness.Write(t, managed.Path("own"), []byte("own"))
	harness.Want(t, managed.Path("own"), []byte("own"))
	_, err = os.ReadFile(managed.Path("foreign"))
	harness.WantErrno(t, "read of what is not under aws/s3", err, syscall.EKEYREJECTED)

	v := harness.Sandbox(t).In(t, harness.Envelope)
	v.Put(t, "f", []byte("sealed"), func(in *s3.PutObjectInput) { in.ServerSideEncryption = types.ServerSideEncryptionAes256 })
	harness.Want(t, v.Mount(t).Path("f"), []byte("sealed"))
}
