package backup

import (
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestBackup runs every script on the sandbox.
func TestBackup(t *testing.T) {
	for _, mode := range Modes(harness.ChosenMode()) {
		t.Run(string(mode), func(t *testing.T) {
			Run(t, mode, func(t testing.TB) *harness.Server {
				return harness.Sandbox(t, func(o *sandbox.Options) {
					if Size(t) > 256 { // which would be in memory
						o.Dir = t.TempDir()
					}
				})
			})
		})
	}
}
