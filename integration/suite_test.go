package integration

import (
	"os"
	"runtime"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/integration/suite"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestSuite runs every case with SSE-KMS alone and with envelope mode beside
// it, on one processor in envelope mode alone: CI does both. KMSFS_TEST_MODE
// chooses as for the promises.
func TestSuite(t *testing.T) {
	modes := []harness.Mode{harness.SSE, harness.Both}
	if runtime.GOMAXPROCS(0) == 1 {
		modes = []harness.Mode{harness.Envelope}
	}
	if chosen := os.Getenv(harness.ModeVariable); chosen != "" {
		modes = []harness.Mode{harness.Mode(chosen)}
	}
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			suite.Run(t, func(t testing.TB) *harness.Server { return harness.Sandbox(t).In(t, mode) })
		})
	}
}
