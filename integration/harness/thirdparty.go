package harness

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// minioKey is the name of MinIO's only KMS key.
const minioKey = "kmsfs-test-key"

// MinIO starts the MinIO in .bin with a KMS key of its own, over plain http or
// TLS, and makes a bucket.
func MinIO(t testing.TB, overTLS bool) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{Name: "minio", Mode: SSE, Bucket: bucketName(t), Key: minioKey, KeyPart: minioKey, access: "minioadmin", secret: "minioadmin-secret"}
	addr, args := freeAddr(t), []string{"server", filepath.Join(dir, "data"), "--quiet", "--anonymous"}
	s.URL = "http://" + addr
	if overTLS {
		s.Name, s.URL = "minio-tls", "https://"+addr
		certs := filepath.Join(dir, "certs")
		s.ca = writeCertificate(t, certs)
		args = append(args, "--certs-dir", certs)
	}
	key := make([]byte, 32)
	rand.Read(key)
	start(t, exec.Command(thirdPartyBinary(t, "minio"), append(args, "--address", addr)...),
		"MINIO_ROOT_USER="+s.access, "MINIO_ROOT_PASSWORD="+s.secret, "HOME="+dir, "MINIO_BROWSER=off", "MINIO_UPDATE=off",
		"MINIO_KMS_SECRET_KEY="+minioKey+":"+base64.StdEncoding.EncodeToString(key))
	s.connect(t)
	s.makeBucket(t)
	s.checkAtEnd(t)
	return s
}

// Versitygw starts the versitygw in .bin over a directory, which it returns:
// it accepts SSE headers and stores plaintext.
func Versitygw(t testing.TB) (s *Server, data string) {
	t.Helper()
	dir := t.TempDir()
	data = filepath.Join(dir, "data")
	for _, d := range []string{data, filepath.Join(dir, "iam")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	addr := freeAddr(t)
	s = &Server{Name: "versitygw", Mode: SSE, Bucket: bucketName(t), Key: "any-key", URL: "http://" + addr, access: "versity", secret: "versity-secret"}
	start(t, exec.Command(thirdPartyBinary(t, "versitygw"), "--port", addr, "--access", s.access, "--secret", s.secret,
		"--iam-dir", filepath.Join(dir, "iam"), "posix", data))
	s.connect(t)
	s.makeBucket(t)
	s.checkAtEnd(t)
	return s, data
}

// thirdPartyBinary finds a server that `make servers` built.
func thirdPartyBinary(t testing.TB, name string) string {
	t.Helper()
	bin := filepath.Join(Root(), ".bin", name)
	if dir := os.Getenv("KMSFS_TEST_SERVERS"); dir != "" {
		bin = filepath.Join(dir, name)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%v; build the third-party servers with `make servers`", err)
	}
	return bin
}

// start runs a server until the end of the test and shows its output if the
// test failed.
func start(t testing.TB, cmd *exec.Cmd, env ...string) {
	t.Helper()
	out := &lockedBuffer{}
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("output of %s:\n%s", filepath.Base(cmd.Path), out)
		}
	})
}

// makeBucket creates the server's bucket as soon as the server answers.
func (s *Server) makeBucket(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := s.S3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &s.Bucket}, func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s does not answer: %v", s.Name, err)
		}
	}
}

// freeAddr returns a loopback address that nobody listens on now.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// bucketName returns a new bucket name.
func bucketName(t testing.TB) string {
	t.Helper()
	var b [6]byte
	rand.Read(b[:])
	return fmt.Sprintf("kmsfs-%s", hex.EncodeToString(b[:]))
}
