package integration

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox/kms"
)

// sharing is the policy of a key that other accounts may use.
const sharing = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kms:*","Resource":"*"}]}`

// A key may be named in every form that AWS knows; objects are under its ARN.
func TestFormsOfKeys(t *testing.T) {
	s := harness.Sandbox(t)
	s.Sandbox.S3.Expect(nil) // each form has a key of its own
	create := func(o kms.KeyOptions) string {
		t.Helper()
		arn, err := s.Sandbox.KMS.CreateKey(o)
		harness.Must(t, err)
		return arn
	}
	own := create(kms.KeyOptions{Alias: "alias/own"})
	prefix, id, _ := strings.Cut(own, "key/")
	shared := create(kms.KeyOptions{Account: "999988887777", Policy: sharing})
	multi := create(kms.KeyOptions{MultiRegion: true})
	for i, form := range []struct{ name, key, arn string }{
		{"key id", id, own},
		{"key ARN", own, own},
		{"alias", "alias/own", own},
		{"alias ARN", prefix + "alias/own", own},
		{"cross-account ARN", shared, shared},
		{"multi-region ARN", multi, multi},
		{"AWS managed key", "", s.Sandbox.KMS.KeyARN("alias/aws/s3")},
	} {
		t.Run(form.name, func(t *testing.T) {
			one := *s
			one.Key = form.key
			m, name := one.Mount(t), fmt.Sprint("f", i)
			harness.Write(t, m.Path(name), []byte("content"))
			harness.Write(t, m.Path(name+"-large"), harness.Random(1, 20<<20))
			harness.Must(t, os.Rename(m.Path(name), m.Path(name+"-moved")))
			for _, key := range []string{name + "-large", name + "-moved"} {
				if got := aws.ToString(s.Head(t, key).SSEKMSKeyId); got != form.arn {
					t.Errorf("%s is under %s, want %s", key, got, form.arn)
				}
			}
		})
	}
	t.Run("another region", func(t *testing.T) {
		dir := t.TempDir()
		far := create(kms.KeyOptions{Region: "eu-west-1"})
		one := *s
		one.Key = far
		cmd := exec.Command(harness.Binary(t), append([]string{"mount", one.Target(), dir, "--state-dir", t.TempDir()}, one.Flags()...)...)
		cmd.Env = append(os.Environ(), one.Env()...)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "region") {
			t.Errorf("mounting under a key of another region: %v\n%s", err, out)
		}
	})
}
