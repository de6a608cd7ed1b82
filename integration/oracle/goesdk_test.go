//go:build goesdk

package oracle

import (
	"path/filepath"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// TestGo: AWS's Encryption SDK for Go, which `make oracle-go` builds, and the mount open each other's objects.
func TestGo(t *testing.T) {
	exchange(t, filepath.Join(harness.Root(), ".bin", "goesdk"))
}
