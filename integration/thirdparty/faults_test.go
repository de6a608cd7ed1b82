package thirdparty

import (
	"testing"

	"github.com/kmsfs/kmsfs/integration/faults"
	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// The rows of docs/FAULTS.md that depend on what a server makes of requests that
// come twice, or too late, hold on servers that others wrote.
func TestFaultsOnMinIO(t *testing.T) {
	t.Parallel()
	tryFaults(t, func(t testing.TB) *harness.Server { return harness.MinIO(t, false) })
}

func TestFaultsOnVersitygw(t *testing.T) {
	t.Parallel()
	tryFaults(t, func(t testing.TB) *harness.Server {
		s, _ := harness.Versitygw(t)
		return s.In(t, harness.Envelope)
	})
}

func tryFaults(t *testing.T, start func(t testing.TB) *harness.Server) {
	r := &faults.Runner{
		Table: faults.ReadTable(t),
		Only: []string{
			"read in order", "create small", "create large", "overwrite", "append", "chmod", "rename", "rename directory", "unlink", "mkdir", "symlink",
		},
		Start: func(t testing.TB) (*harness.Server, *wire.Faults) {
			s, proxy := start(t).Behind(t)
			return s, &proxy.Faults
		},
	}
	for _, f := range faults.Faults() {
		switch f.Name {
		case "500 InternalError", "connection reset", "connection reset in the request":
			t.Run(f.Name+", "+f.Form, func(t *testing.T) { r.Run(t, f) })
		}
	}
}
