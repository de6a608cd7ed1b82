package load

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

func TestMain(m *testing.M) { harness.Main(m) }

// each runs f in the modes that KMSFS_TEST_MODE names, else in the one that the
// run has chosen, on a sandbox of its own whose mounts may live for life.
func each(t *testing.T, life time.Duration, f func(t *testing.T, srv *harness.Server), edit ...func(*sandbox.Options)) {
	modes := strings.Fields(os.Getenv(harness.ModeVariable))
	if len(modes) == 0 {
		modes = []string{string(harness.ChosenMode())}
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			srv := harness.Sandbox(t, edit...).In(t, harness.Mode(mode))
			srv.Plain = true // its memory is measured
			srv.Life = harness.Limit + life
			f(t, srv)
		})
	}
}

// number reads a variable of the environment; without it it is small.
func number(t *testing.T, name string, small int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return small
	}
	n, err := strconv.Atoi(s)
	harness.Must(t, err)
	return n
}

// duration is number for a time.
func duration(t *testing.T, name string, small time.Duration) time.Duration {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return small
	}
	d, err := time.ParseDuration(s)
	harness.Must(t, err)
	return d
}
