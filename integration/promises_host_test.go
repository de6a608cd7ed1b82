package integration

import (
	"context"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/integration/suite"
)

func copiesKeepAll(t *testing.T) {
	s := sandboxed(t)
	body := harness.Random(1, 6<<20)
	dressed := func(in *s3.PutObjectInput) {
		in.ContentType, in.CacheControl = aws.String("text/x-special"), aws.String("max-age=7")
		in.ContentDisposition, in.ContentLanguage = aws.String("attachment"), aws.String("fy")
		in.Metadata = map[string]string{"owner": "somebody", "mode": "41471"} // of a symlink, if it can be one
		in.Tagging, in.StorageClass = aws.String("team=a&tier=2"), types.StorageClassStandardIa
	}
	s.Put(t, "f", body, dressed)
	s.Put(t, "d/", nil, dressed)
	s.Put(t, "l", []byte("f"), dressed)
	m := s.Mount(t, "--encryption-context", "purpose=backup")
	chmodNow(t, m.Path("f"), 0o600)
	f, err := os.OpenFile(m.Path("f"), os.O_WRONLY|os.O_APPEND, 0)
	harness.Must(t, err)
	_, err = f.Write([]byte("tail"))
	harness.Must(t, err)
	harness.Must(t, f.Close())
	harness.Must(t, os.Rename(m.Path("f"), m.Path("g")))
	for _, name := range []string{"d", "l"} {
		harness.Must(t, os.Lchown(m.Path(name), 1234, 5678))
		harness.Must(t, os.Rename(m.Path(name), m.Path(name+"2")))
		harness.Must(t, os.Lchown(m.Path(name+"2"), 5678, 1234))
	}
	if target, err := os.Readlink(m.Path("l2")); target != "f" {
		t.Errorf("the symlink leads to %q, %v", target, err)
	}
	m.Unmount()
	for _, key := range []string{"g", "d2/", "l2"} {
		wantDressed(t, s, key)
	}
	harness.Equal(t, "object", s.Get(t, "g"), append(body, "tail"...))
	s.MustBeEncrypted(t)
	for _, r := range s.Sandbox.Log.Requests() {
		if r.Op == "CopyObject" && r.Header.Get(sse+"-Context") == "" {
			t.Errorf("a copy of %s has no encryption context", r.Key)
		}
	}
}

// wantDressed fails unless the object has all that copiesKeepAll gave it.
func wantDressed(t *testing.T, s *harness.Server, key string) {
	t.Helper()
	head := s.Head(t, key)
	for what, got := range map[string]string{
		"text/x-special": aws.ToString(head.ContentType), "max-age=7": aws.ToString(head.CacheControl),
		"attachment": aws.ToString(head.ContentDisposition), "fy": aws.ToString(head.ContentLanguage),
		"somebody": head.Metadata["owner"], "STANDARD_IA": string(head.StorageClass),
	} {
		if got != what {
			t.Errorf("%s: %q became %q", key, what, got)
		}
	}
	tags, err := s.S3.GetObjectTagging(context.Background(), &s3.GetObjectTaggingInput{Bucket: &s.Bucket, Key: &key})
	harness.Must(t, err)
	if len(tags.TagSet) != 2 {
		t.Errorf("%s: tags %v, want two", key, tags.TagSet)
	}
}

func atomicReplacement(t *testing.T) {
	s := sandboxed(t)
	m := s.Mount(t)
	old := harness.Random(1, 20<<20)
	harness.Write(t, m.Path("f"), old)
	f, err := os.OpenFile(m.Path("f"), os.O_WRONLY|os.O_TRUNC, 0)
	harness.Must(t, err)
	_, err = f.Write(harness.Random(2, 40<<20))
	harness.Must(t, err)
	awaitOp(t, s, "UploadPart", 1)
	harness.Equal(t, "object while it is being replaced", s.Get(t, "f"), old)
	m.Kill()
	f.Close()
	harness.Equal(t, "object after the crash", s.Get(t, "f"), old)
	m = s.Mount(t)
	harness.Want(t, m.Path("f"), old)
}

func closeToOpen(t *testing.T) {
	s := sandboxed(t)
	a, b := s.Mount(t, "--attr-ttl", "0s"), s.OtherHost().Mount(t, "--attr-ttl", "0s")
	for i := range 5 {
		body := harness.Random(uint64(i), 3<<20)
		harness.Write(t, a.Path("f"), body)
		harness.Want(t, b.Path("f"), body)
	}
	old := harness.Random(9, 30<<20)
	harness.Write(t, a.Path("g"), old)
	f, err := os.Open(b.Path("g"))
	harness.Must(t, err)
	defer f.Close()
	head := make([]byte, 1000)
	_, err = io.ReadFull(f, head)
	harness.Must(t, err)
	harness.Write(t, a.Path("g"), harness.Random(10, 30<<20))
	got := make([]byte, 1000)
	if _, err = f.ReadAt(got, 25<<20); err == nil {
		harness.Equal(t, "the old version through the old descriptor", got, old[25<<20:25<<20+1000])
	} else {
		harness.WantErrno(t, "read of a replaced object", err, syscall.ESTALE)
	}
	harness.Want(t, b.Path("g"), harness.Random(10, 30<<20))
}

func noLostUpdate(t *testing.T) {
	s := sandboxed(t)
	m := s.Mount(t, "--on-conflict", "fail")
	for _, size := range []int{100, 30 << 20} {
		s.Put(t, "f", []byte("base"))
		f, err := os.OpenFile(m.Path("f"), os.O_WRONLY|os.O_TRUNC, 0)
		harness.Must(t, err)
		_, err = f.Write(harness.Random(1, size))
		harness.Must(t, err)
		s.Put(t, "f", []byte("theirs"))
		harness.WantErrno(t, "close after somebody else wrote", f.Close(), syscall.ESTALE)
		harness.Equal(t, "object", s.Get(t, "f"), []byte("theirs"))

		g, err := os.OpenFile(m.Path("new"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		harness.Must(t, err)
		_, err = g.Write(harness.Random(1, size))
		harness.Must(t, err)
		s.Put(t, "new", []byte("theirs"))
		harness.WantErrno(t, "close after somebody else created", g.Close(), syscall.ESTALE)
		harness.Equal(t, "object", s.Get(t, "new"), []byte("theirs"))
		s.Delete(t, "new")
		// A failed commit's view of the directory is not kept.
		if _, err := os.Stat(m.Path("f")); err != nil {
			t.Errorf("stat after the conflict: %v", err)
		}
		m.Unmount()
		m = s.Mount(t, "--on-conflict", "fail")
	}
}

func mkdirIsExact(t *testing.T) {
	s := sandboxed(t)
	suite.MkdirOnce(t, s.Mount(t), s.OtherHost().Mount(t), 30)
}

func metadataTravels(t *testing.T) {
	s := sandboxed(t)
	m := s.Mount(t)
	harness.Write(t, m.Path("f"), []byte("content"))
	harness.Must(t, os.Chmod(m.Path("f"), 0o611))
	info, err := os.Stat(m.Path("f"))
	harness.Must(t, err)
	if info.Mode() != 0o611 {
		t.Errorf("the new mode is not visible at once: %v", info.Mode())
	}
	dir, err := os.Open(m.Dir)
	harness.Must(t, err)
	harness.Must(t, dir.Sync())
	harness.Must(t, dir.Close())
	if mode := s.Head(t, "f").Metadata["mode"]; mode == "" {
		t.Error("fsync of the directory did not write the mode")
	}
	harness.Must(t, os.Chmod(m.Path("f"), 0o644))
	m.Kill()
	m = s.Mount(t)
	harness.Want(t, m.Path("f"), []byte("content"))
	harness.Must(t, os.Mkdir(m.Path("d"), 0o700))
	harness.Must(t, os.Symlink("f", m.Path("d/link")))
	harness.Must(t, os.Chmod(m.Path("f"), 0o600))
	harness.Must(t, os.Lchown(m.Path("d/link"), 1234, 5678))
	harness.Must(t, os.Chmod(m.Path("d"), 0o750))
	awaitOp(t, s, "CopyObject", s.Sandbox.Log.Count("CopyObject")+3)
}
