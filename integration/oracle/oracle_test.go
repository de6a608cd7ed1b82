package oracle

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// An oracle is one of AWS's Encryption SDKs, with the KMS of one server.
type oracle struct {
	argv []string // the program, to be followed by a command and its arguments
	key  string   // ARN of the KMS key
	env  []string
}

// newOracle returns the oracle that argv runs. Of the server it learns KMS only.
func newOracle(s *harness.Server, argv ...string) oracle {
	env := append(s.Env(), "AWS_ENDPOINT_URL_KMS="+s.KMSURL(), "AWS_CA_BUNDLE="+s.CA(), "NODE_EXTRA_CA_CERTS="+s.CA(), "NODE_NO_WARNINGS=1")
	return oracle{argv, s.EnvelopeKey, env}
}

// convert runs a command over files with the contents in, and returns what it
// made of each. Otherwise the error says what it complained of.
func (o oracle) convert(t *testing.T, in [][]byte, args ...string) (out [][]byte, err error) {
	t.Helper()
	args = slices.Concat(o.argv, args)
	dir := t.TempDir()
	for i, b := range in {
		path := filepath.Join(dir, strconv.Itoa(i))
		harness.Write(t, path, b)
		args = append(args, path, path+"-out")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), o.env...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", o.argv, err, said)
	}
	for i := range in {
		b, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(i)+"-out"))
		harness.Must(t, err)
		out = append(out, b)
	}
	return out, nil
}

// encrypt returns the messages of contents, bound to a bucket.
func (o oracle) encrypt(t *testing.T, bucket string, plain ...[]byte) [][]byte {
	t.Helper()
	sealed, err := o.convert(t, plain, "encrypt", o.key, `{"aws:s3:arn":"arn:aws:s3:::`+bucket+`"}`)
	harness.Must(t, err)
	return sealed
}

// opens fails the test unless the oracle opens these objects and finds that
// content.
func (o oracle) opens(t *testing.T, s *harness.Server, objects map[string][]byte) {
	t.Helper()
	names := slices.Sorted(maps.Keys(objects))
	var sealed [][]byte
	for _, name := range names {
		sealed = append(sealed, s.Raw(t, name))
	}
	plain, err := o.convert(t, sealed, "decrypt", o.key)
	harness.Must(t, err)
	for i, name := range names {
		harness.Equal(t, name+" as the oracle decrypted it", plain[i], objects[name])
	}
}
