package oracle

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// TestJavaScript: @aws-crypto/client-node and the mount open each other's objects.
func TestJavaScript(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("find Node.js: %v: install Debian's packages nodejs and npm, or run scripts/deps", err)
	}
	exchange(t, node, filepath.Join(installed(t), "oracle.mjs"))
}

// installed returns the directory of the JavaScript oracle, with the packages
// that its lock names. They stay there for later runs, until the lock changes.
func installed(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("js")
	harness.Must(t, err)
	lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	harness.Must(t, err)
	stamp := filepath.Join(dir, "node_modules", ".installed")
	if have, err := os.ReadFile(stamp); err == nil && bytes.Equal(have, lock) {
		return dir
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci in %s: %v: install Debian's package npm, and let this machine reach the npm registry\n%s", dir, err, out)
	}
	harness.Write(t, stamp, lock)
	return dir
}
