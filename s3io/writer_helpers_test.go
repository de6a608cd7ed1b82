package s3io

import (
	"runtime"
	"testing"
	"time"
)

// waitFor yields until cond holds and fails the test after ten seconds.
func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("condition not met within ten seconds")
		}
	}
}
