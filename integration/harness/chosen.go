package harness

import (
	"os"
	"runtime"
)

// ModeVariable chooses the mode of tests that can run in several: sse, envelope
// or both.
const ModeVariable = "KMSFS_TEST_MODE"

// ChosenMode is the mode of tests that run in one at a time: SSE-KMS alone, or
// on one processor envelope mode beside it. CI does both. In envelope mode alone
// tests of the server's encryption have nothing to test, and fail.
func ChosenMode() Mode {
	if chosen := Mode(os.Getenv(ModeVariable)); chosen != "" {
		return chosen
	}
	if runtime.GOMAXPROCS(0) == 1 {
		return Both
	}
	return SSE
}
