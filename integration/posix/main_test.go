package posix

import (
	"fmt"
	"os"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(elsewhere); name != "" {
		runElsewhere(name)
		return
	}
	if rights := os.Getenv(workerEnv); rights != "" {
		if err := work(rights, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	harness.Main(m)
}
