package oracle

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

func TestMain(m *testing.M) { harness.Main(m) }

// bound is the encryption context of objects of the sandbox's bucket.
const bound = `{"aws:s3:arn":"arn:aws:s3:::` + sandbox.Bucket + `"}`

// An oracle is one of AWS's Encryption SDKs, with the KMS of one server.
type oracle struct {
	argv []string // the program, to be followed by a command and its arguments
	key  string   // ARN of the KMS key
	env  []string
	dir  string
}

// newOracle returns the oracle that argv runs. Of the server it learns KMS only.
func newOracle(t *testing.T, s *harness.Server, argv ...string) oracle {
	t.Helper()
	env := append(s.Env(), "AWS_ENDPOINT_URL_KMS="+s.KMSURL(), "AWS_CA_BUNDLE="+s.CA(), "NODE_EXTRA_CA_CERTS="+s.CA(), "NODE_NO_WARNINGS=1")
	return oracle{argv, s.EnvelopeKey, env, t.TempDir()}
}

// convert runs a command whose last arguments are an input file, with the
// content in, and an output file, whose content it returns.
func (o oracle) convert(t *testing.T, in []byte, args ...string) ([]byte, error) {
	t.Helper()
	from, to := filepath.Join(o.dir, "in"), filepath.Join(o.dir, "out")
	harness.Write(t, from, in)
	harness.Must(t, os.RemoveAll(to))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	argv := append(append([]string{}, o.argv...), append(args, from, to)...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), o.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return out, err
	}
	return os.ReadFile(to)
}

func (o oracle) encrypt(t *testing.T, context string, plain []byte) []byte {
	t.Helper()
	sealed, err := o.convert(t, plain, "encrypt", o.key, context)
	if err != nil {
		t.Fatalf("encrypt %d bytes by %s: %v: %s", len(plain), o.argv, err, sealed)
	}
	return sealed
}

// opens fails the test unless the message is plain's.
func (o oracle) opens(t *testing.T, sealed, plain []byte) {
	t.Helper()
	got, err := o.convert(t, sealed, "decrypt", o.key)
	if err != nil {
		t.Fatalf("decrypt %d bytes by %s: %v: %s", len(sealed), o.argv, err, got)
	}
	harness.Equal(t, "content that the oracle decrypted", got, plain)
}
