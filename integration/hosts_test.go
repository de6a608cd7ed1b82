package integration

import (
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/integration/suite"
)

// TestHosts runs in every mode what several hosts do to one bucket.
func TestHosts(t *testing.T) {
	for _, mode := range []harness.Mode{harness.SSE, harness.Envelope} {
		t.Run(string(mode), func(t *testing.T) {
			suite.Hosts(t, harness.Sandbox(t).In(t, mode))
		})
	}
}
