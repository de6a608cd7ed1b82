package thirdparty

import (
	"testing"

	"github.com/kmsfs/kmsfs/integration/crash"
	"github.com/kmsfs/kmsfs/integration/harness"
)

// crashed are the scenarios whose ends depend most on the server: parts,
// conditions, copies, and what nobody has a name for.
func crashed(t *testing.T, s *harness.Server) {
	for _, sc := range crash.Scenarios() {
		switch sc.Name {
		case "append", "rename", "unlink while open":
			mounted := s.OtherHost()
			mounted.Prefix = sc.Name + "/"
			t.Run(sc.Name, func(t *testing.T) { sc.Run(t, crash.Behind(t, mounted)) })
		}
	}
}

func TestCrashesOnMinIO(t *testing.T) {
	t.Parallel()
	crashed(t, harness.MinIO(t, false).In(t, harness.Both))
}

func TestCrashesOnVersitygw(t *testing.T) {
	t.Parallel()
	s, _ := harness.Versitygw(t)
	crashed(t, s.In(t, harness.Envelope))
}
