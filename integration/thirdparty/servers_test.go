package thirdparty

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/integration/crash"
	"github.com/kmsfs/kmsfs/integration/faults"
	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/integration/suite"
)

func TestMain(m *testing.M) {
	faults.BecomeAgent()
	crash.Play()
	harness.Main(m)
}

func TestMinIO(t *testing.T) {
	t.Parallel()
	suite.Run(t, func(t testing.TB) *harness.Server { return harness.MinIO(t, false) })
}

// Over TLS checksums travel as trailers: the same cases take another path.
func TestMinIOOverTLS(t *testing.T) {
	t.Parallel()
	suite.RunCore(t, func(t testing.TB) *harness.Server { return harness.MinIO(t, true) })
}

func TestMinIOSealed(t *testing.T) {
	t.Parallel()
	suite.RunCore(t, func(t testing.TB) *harness.Server { return harness.MinIO(t, false).In(t, harness.Envelope) })
}

func TestMinIOBoth(t *testing.T) {
	t.Parallel()
	suite.RunCore(t, func(t testing.TB) *harness.Server { return harness.MinIO(t, true).In(t, harness.Both) })
}

// What is sealed needs no encryption of the server.
func TestVersitygwSealed(t *testing.T) {
	t.Parallel()
	suite.RunCore(t, func(t testing.TB) *harness.Server {
		s, _ := harness.Versitygw(t)
		return s.In(t, harness.Envelope)
	})
}

// versitygw accepts the SSE headers and stores plaintext: the mount must
// refuse it, and leave nothing in the bucket.
func TestVersitygwIsRefused(t *testing.T) {
	t.Parallel()
	s, data := harness.Versitygw(t)
	dir := t.TempDir()
	args := append([]string{"mount", s.Target(), dir, "--state-dir", t.TempDir()}, s.Flags()...)
	cmd := exec.Command(harness.Binary(t), args...)
	cmd.Env = append(os.Environ(), s.Env()...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("mounted a server that stores plaintext:\n%s", out)
	}
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit status %d, want 1", code)
	}
	if !strings.Contains(string(out), "encrypt") {
		t.Errorf("the message does not say that encryption is missing:\n%s", out)
	}
	if _, mounted := harness.Mounts()[dir]; mounted {
		t.Error("something is mounted")
	}
	if keys := s.Keys(t); len(keys) != 0 {
		t.Errorf("objects left behind: %q", keys)
	}
	left, err := os.ReadDir(filepath.Join(data, s.Bucket))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if e.Name() != ".sgwtmp" { // its own scratch directory
			t.Errorf("left behind: %s", e.Name())
		}
	}
}
