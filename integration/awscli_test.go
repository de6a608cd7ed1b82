package integration

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/s3"
)

// An awsCLI runs Debian's AWS CLI, which shares no code with us, against a sandbox over TLS.
type awsCLI struct {
	t    *testing.T
	s    *sandbox.Server
	key  string // ARN of the sandbox's first key
	dir  string
	path string
}

func newAWSCLI(t *testing.T) awsCLI {
	t.Helper()
	s, err := sandbox.Start(sandbox.Options{TLS: true, RequireTLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return cliOf(t, s)
}

// cliOf returns the AWS CLI for a running sandbox.
func cliOf(t *testing.T, s *sandbox.Server) awsCLI {
	t.Helper()
	path := "/usr/bin/aws" // Debian's, before any other that PATH may have
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath("aws"); err != nil {
			t.Fatalf("find the AWS CLI: %v: install Debian's package awscli", err)
		}
	}
	return awsCLI{t, s, s.KMS.KeyARN(sandbox.KeyAlias), t.TempDir(), path}
}

// run returns the CLI's output, and an error with what it complained of.
func (c awsCLI) run(args ...string) (string, error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, append([]string{"--endpoint-url", c.s.URL(), "--ca-bundle", c.s.CAFile(), "--output", "json"}, args...)...)
	cmd.Dir = c.dir
	cmd.Env = append(c.s.Env(), "PATH="+os.Getenv("PATH"), "HOME="+c.dir, "AWS_PAGER=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// answer runs a command that must succeed and returns its JSON.
func (c awsCLI) answer(args ...string) map[string]any {
	c.t.Helper()
	out, err := c.run(args...)
	if err != nil {
		c.t.Fatalf("aws %s: %v: %s", strings.Join(args, " "), err, out)
	}
	fields := map[string]any{}
	if strings.HasPrefix(strings.TrimSpace(out), "{") {
		if err := json.Unmarshal([]byte(out), &fields); err != nil {
			c.t.Fatalf("aws %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	return fields
}

// file makes a file of size bytes for the CLI to send.
func (c awsCLI) file(name string, size int) []byte {
	c.t.Helper()
	content := []byte(strings.Repeat("0123456789abcdef", size/16+1)[:size])
	if err := os.WriteFile(filepath.Join(c.dir, name), content, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return content
}

// encrypted checks what an answer says of the encryption.
func (c awsCLI) encrypted(what string, answer map[string]any, bucketKey bool) {
	c.t.Helper()
	on, _ := answer["BucketKeyEnabled"].(bool)
	if answer["ServerSideEncryption"] != "aws:kms" || answer["SSEKMSKeyId"] != c.key || on != bucketKey {
		c.t.Errorf("%s: %v, want aws:kms under %s, bucket key %v", what, answer, c.key, bucketKey)
	}
}

// kmsOptions ask for SSE-KMS under the first key.
var kmsOptions = []string{"--server-side-encryption", "aws:kms", "--ssekms-key-id", sandbox.KeyAlias}

// TestAWSCLICreates: the creating commands of s3api with all SSE-KMS options see what AWS would show.
func TestAWSCLICreates(t *testing.T) {
	c := newAWSCLI(t)
	c.s.S3.Expect(&s3.Expectation{Algorithm: "aws:kms", KeyID: sandbox.KeyAlias, BucketKey: "true"})
	c.file("small", 1000)
	pairs := `eyJwcm9qZWN0IjoiYSJ9` // {"project":"a"}
	all := slices.Concat(kmsOptions, []string{"--bucket-key-enabled", "--ssekms-encryption-context", pairs})
	api := func(op, key string, args ...string) map[string]any {
		t.Helper()
		return c.answer(append([]string{"s3api", op, "--bucket", sandbox.Bucket, "--key", key}, args...)...)
	}

	put := api("put-object", "a b/ü", append([]string{"--body", "small", "--metadata", "k=v"}, all...)...)
	c.encrypted("put-object", put, true)
	copied := api("copy-object", "copy", append([]string{"--copy-source", sandbox.Bucket + "/a b/ü"}, all...)...)
	c.encrypted("copy-object", copied, true)
	created := api("create-multipart-upload", "parts", all...)
	c.encrypted("create-multipart-upload", created, true)
	for what, answer := range map[string]map[string]any{"put-object": put, "copy-object": copied, "create-multipart-upload": created} {
		if answer["SSEKMSEncryptionContext"] != pairs {
			t.Errorf("%s: context %v, want %s", what, answer["SSEKMSEncryptionContext"], pairs)
		}
	}
	upload := created["UploadId"].(string)
	part := api("upload-part", "parts", "--upload-id", upload, "--part-number", "1", "--body", "small")
	c.encrypted("upload-part", part, true)
	list, err := json.Marshal(map[string]any{"Parts": []any{map[string]any{"PartNumber": 1, "ETag": part["ETag"]}}})
	if err != nil {
		t.Fatal(err)
	}
	c.encrypted("complete-multipart-upload", api("complete-multipart-upload", "parts", "--upload-id", upload, "--multipart-upload", string(list)), true)

	for _, key := range []string{"a b/ü", "copy", "parts"} {
		head := api("head-object", key)
		c.encrypted("head-object", head, true)
		if head["ContentLength"] != 1000.0 || head["SSEKMSEncryptionContext"] != nil {
			t.Errorf("head-object %s: %v", key, head)
		}
	}
	if head := api("head-object", "copy"); head["Metadata"].(map[string]any)["k"] != "v" {
		t.Errorf("copy-object loses metadata: %v", head)
	}
	if v := c.s.S3.Violations(); len(v) != 0 {
		t.Errorf("violations: %q", v)
	}
	if out, err := c.run("s3api", "head-object", "--bucket", sandbox.Bucket, "--key", "none"); err == nil || !strings.Contains(out, "(404)") {
		t.Errorf("head-object of nothing: %v: %s", err, out)
	}
	if out, err := c.run("s3api", "put-object", "--bucket", sandbox.Bucket, "--key", "x", "--server-side-encryption", "aws:kms", "--ssekms-key-id", "alias/none"); err == nil || !strings.Contains(out, "(KMS.NotFoundException)") {
		t.Errorf("put-object under an unknown key: %v: %s", err, out)
	}
}

// TestAWSCLICopiesFiles: aws s3 cp, small and in parts, there and back, and listings.
func TestAWSCLICopiesFiles(t *testing.T) {
	c := newAWSCLI(t)
	url := "s3://" + sandbox.Bucket + "/"
	for name, size := range map[string]int{"small": 1234, "large": 20 << 20} { // 8 MiB and more go in parts
		want := c.file(name, size)
		c.answer("s3", "cp", name, url+"dir/"+name, "--sse", "aws:kms", "--sse-kms-key-id", c.key, "--no-progress")
		c.answer("s3", "cp", url+"dir/"+name, url+"copy/"+name, "--sse", "aws:kms", "--sse-kms-key-id", c.key, "--no-progress")
		c.answer("s3", "cp", url+"copy/"+name, "back", "--no-progress")
		got, err := os.ReadFile(filepath.Join(c.dir, "back"))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s came back as %d bytes of %d: %v", name, len(got), len(want), err)
		}
		c.encrypted("s3 cp", c.answer("s3api", "head-object", "--bucket", sandbox.Bucket, "--key", "copy/"+name), false)
	}
	out, err := c.run("s3", "ls", url)
	if err != nil || strings.Join(strings.Fields(out), " ") != "PRE copy/ PRE dir/" {
		t.Errorf("s3 ls: %v: %s", err, out)
	}
	uploads := c.answer("s3api", "list-multipart-uploads", "--bucket", sandbox.Bucket)
	if uploads["Uploads"] != nil {
		t.Errorf("uploads are left: %v", uploads)
	}
	c.answer("s3", "rm", url, "--recursive")
	if out, err := c.run("s3", "ls", url); out != "" {
		t.Errorf("after rm: %v: %s", err, out)
	}
}

// TestAWSCLISettings: the bucket's default encryption and versioning, as the CLI sets and reads them.
func TestAWSCLISettings(t *testing.T) {
	c := newAWSCLI(t)
	c.answer("s3api", "create-bucket", "--bucket", "settings")
	c.answer("s3api", "put-bucket-encryption", "--bucket", "settings", "--server-side-encryption-configuration",
		`{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"`+c.key+`"},"BucketKeyEnabled":true}]}`)
	got, err := json.Marshal(c.answer("s3api", "get-bucket-encryption", "--bucket", "settings"))
	if err != nil || !strings.Contains(string(got), c.key) || !strings.Contains(string(got), `"BucketKeyEnabled":true`) {
		t.Errorf("get-bucket-encryption: %s, %v", got, err)
	}
	c.answer("s3api", "put-bucket-versioning", "--bucket", "settings", "--versioning-configuration", "Status=Enabled")
	if got := c.answer("s3api", "get-bucket-versioning", "--bucket", "settings"); got["Status"] != "Enabled" {
		t.Errorf("get-bucket-versioning: %v", got)
	}
	c.file("f", 10)
	put := c.answer("s3api", "put-object", "--bucket", "settings", "--key", "k", "--body", "f")
	c.encrypted("put-object by the bucket's default", put, true)
	if put["VersionId"] == nil {
		t.Errorf("no version: %v", put)
	}
	versions := c.answer("s3api", "list-object-versions", "--bucket", "settings")
	if n := len(versions["Versions"].([]any)); n != 1 {
		t.Errorf("%d versions, want 1", n)
	}
}

// TestAWSCLIAndMount: the CLI reads what the mount wrote, the mount what the CLI wrote, in one part and in many.
func TestAWSCLIAndMount(t *testing.T) {
	s := harness.Sandbox(t)
	c, m := cliOf(t, s.Sandbox), s.Mount(t)
	for name, size := range map[string]int{"small": 1000, "large": 20 << 20} {
		ours := harness.Random(uint64(size), size)
		harness.Write(t, m.Path(name), ours)
		c.answer("s3", "cp", "s3://demo/"+name, "from-mount", "--only-show-errors")
		harness.Want(t, filepath.Join(c.dir, "from-mount"), ours)
		c.encrypted("head-object", c.answer("s3api", "head-object", "--bucket", "demo", "--key", name), true)

		theirs := c.file("theirs", size+1)
		c.answer("s3", "cp", "theirs", "s3://demo/cli-"+name, "--only-show-errors", "--sse", "aws:kms", "--sse-kms-key-id", c.key)
		harness.Want(t, m.Path("cli-"+name), theirs)
	}
}
