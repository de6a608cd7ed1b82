//go:build race

package s3io

import (
	"flag"
	"os"
	"testing"
)

// TestMain has properties checked 40 times unless the command line says
// otherwise: under the race detector that takes as long as the 100 times that CI
// checks them without it.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "40"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
