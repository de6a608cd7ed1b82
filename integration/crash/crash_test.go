package crash

import (
	"testing"

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
