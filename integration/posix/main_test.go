package posix

import (
	"os"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(elsewhere); name != "" {
		runElsewhere(name)
		return
	}
	harness.Main(m)
}
