package sandbox

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// awsCLI runs the AWS CLI, which knows nothing of this repository, against the sandbox's KMS; the integration suite does
// so against its S3. Debian's is preferred: the design names its version.
type awsCLI struct {
	t    *testing.T
	s    *Server
	path string
	dir  string
	as   wire.Identity // zero: the sandbox's own
}

func newCLI(t *testing.T, s *Server) awsCLI {
	path := "/usr/bin/aws"
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath("aws"); err != nil {
			t.Fatalf("%v: install Debian's package awscli", err)
		}
	}
	return awsCLI{t: t, s: s, path: path, dir: t.TempDir()}
}

// run returns what the CLI prints, and its exit status as an error.
func (c awsCLI) run(args ...string) (string, error) {
	c.t.Helper()
	args = append([]string{"--endpoint-url", c.s.KMSURL(), "--output", "json"}, args...)
	cmd := exec.CommandContext(testContext(c.t), c.path, args...)
	cmd.Dir = c.dir
	cmd.Env = append(c.s.Env(), "PATH="+os.Getenv("PATH"), "HOME="+c.dir, "AWS_PAGER=")
	if c.as.AccessKey != "" {
		cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID="+c.as.AccessKey, "AWS_SECRET_ACCESS_KEY="+c.as.SecretKey)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must returns the fields of a JSON answer.
func (c awsCLI) must(args ...string) map[string]any {
	c.t.Helper()
	out, err := c.run(args...)
	if err != nil {
		c.t.Fatalf("aws %s: %v: %s", strings.Join(args, " "), err, out)
	}
	fields := map[string]any{}
	if out != "" {
		if err := json.Unmarshal([]byte(out), &fields); err != nil {
			c.t.Fatalf("aws %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	return fields
}

// binary returns a parameter for what the CLI printed in base64; its versions differ in how they take that directly.
func (c awsCLI) binary(text string) string {
	c.t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		err = os.WriteFile(filepath.Join(c.dir, "blob"), raw, 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return "fileb://blob"
}

func TestCLIDrivesKMS(t *testing.T) {
	s := start(t, Options{TLS: true})
	c := newCLI(t, s)
	meta := c.must("kms", "create-key", "--description", "made by the CLI")["KeyMetadata"].(map[string]any)
	arn, id := meta["Arn"].(string), meta["KeyId"].(string)
	c.must("kms", "create-alias", "--alias-name", "alias/cli", "--target-key-id", id)
	if got := c.must("kms", "describe-key", "--key-id", "alias/cli")["KeyMetadata"].(map[string]any); got["Arn"] != arn || got["KeyState"] != "Enabled" || got["Description"] != "made by the CLI" {
		t.Errorf("describe-key: %v", got)
	}
	if keys := c.must("kms", "list-keys", "--page-size", "2")["Keys"].([]any); len(keys) != 4 { // demo, other, aws/s3, and ours
		t.Errorf("list-keys: %v", keys)
	}
	aliases := c.must("kms", "list-aliases")["Aliases"].([]any)
	var names []string
	for _, a := range aliases {
		names = append(names, a.(map[string]any)["AliasName"].(string))
	}
	if got := strings.Join(names, " "); got != "alias/aws/s3 alias/cli alias/kmsfs-demo alias/kmsfs-other" {
		t.Errorf("list-aliases: %s", got)
	}

	if err := os.WriteFile(filepath.Join(c.dir, "plain"), []byte("a secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	sealed := c.must("kms", "encrypt", "--key-id", "alias/cli", "--plaintext", "fileb://plain", "--encryption-context", "a=1,b=2")
	blob := sealed["CiphertextBlob"].(string)
	opened := c.must("kms", "decrypt", "--ciphertext-blob", c.binary(blob), "--encryption-context", "b=2,a=1")
	if sealed["KeyId"] != arn || opened["KeyId"] != arn || opened["Plaintext"] != "YSBzZWNyZXQ=" {
		t.Errorf("encrypt %v, decrypt %v", sealed, opened)
	}
	data := c.must("kms", "generate-data-key", "--key-id", arn, "--key-spec", "AES_256")
	opened = c.must("kms", "decrypt", "--ciphertext-blob", c.binary(data["CiphertextBlob"].(string)), "--key-id", arn)
	if opened["Plaintext"] != data["Plaintext"] {
		t.Errorf("generate-data-key %v, decrypt %v", data, opened)
	}
	cliRefusals(c, id, arn, blob)
}

// cliRefusals checks what the CLI makes of errors, and the states of a key.
func cliRefusals(c awsCLI, id, arn, blob string) {
	t := c.t
	t.Helper()
	for _, refused := range []struct {
		code string
		args []string
	}{
		{"(InvalidCiphertextException)", []string{"kms", "decrypt", "--ciphertext-blob", c.binary(blob), "--encryption-context", "a=1"}},
		{"(IncorrectKeyException)", []string{"kms", "decrypt", "--ciphertext-blob", c.binary(blob), "--key-id", KeyAlias}},
		{"(NotFoundException)", []string{"kms", "describe-key", "--key-id", "alias/none"}},
		{"(AlreadyExistsException)", []string{"kms", "create-alias", "--alias-name", "alias/cli", "--target-key-id", id}},
	} {
		if out, err := c.run(refused.args...); err == nil || !strings.Contains(out, refused.code) {
			t.Errorf("aws %s: %v: %s", strings.Join(refused.args, " "), err, out)
		}
	}
	c.must("kms", "disable-key", "--key-id", id)
	if out, err := c.run("kms", "generate-data-key", "--key-id", "alias/cli", "--key-spec", "AES_256"); err == nil || !strings.Contains(out, "(DisabledException) when calling the GenerateDataKey operation: "+arn+" is disabled.") {
		t.Errorf("generate-data-key under a disabled key: %v: %s", err, out)
	}
	if got := c.must("kms", "schedule-key-deletion", "--key-id", id, "--pending-window-in-days", "7"); got["KeyState"] != "PendingDeletion" || got["DeletionDate"] == "" {
		t.Errorf("schedule-key-deletion: %v", got)
	}
	if got := c.must("kms", "cancel-key-deletion", "--key-id", id); got["KeyId"] != arn {
		t.Errorf("cancel-key-deletion: %v", got)
	}
}

// TestCLIGrants has another principal decrypt by a grant token, and rotates the
// key meanwhile.
func TestCLIGrants(t *testing.T) {
	s := start(t, Options{})
	guest := wire.Identity{AccessKey: "guest", SecretKey: "guest-secret", ARN: "arn:aws:iam::444455556666:user/guest"}
	s.AddIdentity(guest)
	c := newCLI(t, s)
	arn := s.KMS.KeyARN(KeyAlias)
	if err := os.WriteFile(filepath.Join(c.dir, "plain"), []byte("a secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	blob := c.must("kms", "encrypt", "--key-id", arn, "--plaintext", "fileb://plain", "--encryption-context", "a=1")["CiphertextBlob"].(string)
	c.must("kms", "enable-key-rotation", "--key-id", arn)
	if err := s.KMS.Rotate(arn); err != nil { // Debian's CLI cannot ask for it yet
		t.Fatal(err)
	}
	if got := c.must("kms", "get-key-rotation-status", "--key-id", arn); got["KeyRotationEnabled"] != true {
		t.Errorf("get-key-rotation-status: %v", got)
	}
	made := c.must("kms", "create-grant", "--key-id", arn, "--grantee-principal", guest.ARN, "--operations", "Decrypt", "--constraints", "EncryptionContextSubset={a=1}")
	grants := c.must("kms", "list-grants", "--key-id", arn)["Grants"].([]any)
	if len(grants) != 1 || grants[0].(map[string]any)["GrantId"] != made["GrantId"] || grants[0].(map[string]any)["IssuingAccount"] != "arn:aws:iam::"+Account+":root" {
		t.Errorf("list-grants: %v", grants)
	}
	c.as = guest
	decrypt := []string{"kms", "decrypt", "--key-id", arn, "--ciphertext-blob", c.binary(blob), "--encryption-context", "a=1"}
	if out, err := c.run(decrypt...); err == nil || !strings.Contains(out, "(AccessDeniedException)") {
		t.Errorf("decrypt without the token: %v: %s", err, out)
	}
	if got := c.must(append(decrypt, "--grant-tokens", made["GrantToken"].(string))...); got["Plaintext"] != "YSBzZWNyZXQ=" {
		t.Errorf("decrypt with the token: %v", got)
	}
}
