package crash

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
)

func TestMain(m *testing.M) {
	Play()
	harness.Main(m)
}

func TestEveryRequest(t *testing.T) {
	for _, sc := range Scenarios() {
		t.Run(sc.Name, func(t *testing.T) {
			t.Parallel()
			sc.Run(t, Sandbox(t, harness.ChosenMode()))
		})
	}
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	Recover(t, Sandbox(t, harness.ChosenMode()))
}

// timeVariable is how long mounts die at random moments, as time.ParseDuration
// has it. By default they do so a few times.
const timeVariable = "KMSFS_TEST_CRASH_TIME"

func TestRandomMoments(t *testing.T) {
	t.Parallel()
	const rounds = 4
	long := os.Getenv(timeVariable)
	if long == "" {
		Random(t, Sandbox(t, harness.ChosenMode()), 1, rounds)
		return
	}
	d, err := time.ParseDuration(long)
	harness.Must(t, err)
	modes := []harness.Mode{harness.SSE, harness.Envelope, harness.Both}
	start := uint64(time.Now().UnixNano())
	for n, end := uint64(0), time.Now().Add(d); time.Now().Before(end); n++ {
		mode := modes[n%uint64(len(modes))]
		t.Run(fmt.Sprintf("%s seed %d", mode, start+n), func(t *testing.T) { Random(t, Sandbox(t, mode), start+n, rounds) })
	}
}
