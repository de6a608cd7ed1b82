package thirdparty

import (
	"testing"

	"github.com/kmsfs/kmsfs/integration/backup"
	"github.com/kmsfs/kmsfs/integration/harness"
)

// certified are the backup programs that run here, too, beside other tests: those
// that lock, that rename and that change in place. A certification runs all, alone.
func certified(t *testing.T) []string {
	if backup.Certifying() {
		return nil
	}
	t.Parallel()
	return []string{"restic", "borg", "rsync"}
}

func TestBackupMinIO(t *testing.T) {
	names := certified(t)
	for _, mode := range backup.Modes(harness.SSE) {
		t.Run(string(mode), func(t *testing.T) {
			backup.Run(t, mode, func(t testing.TB) *harness.Server { return harness.MinIO(t, false) }, names...)
		})
	}
}

func TestBackupVersitygw(t *testing.T) {
	names := certified(t)
	backup.Run(t, harness.Envelope, func(t testing.TB) *harness.Server {
		s, _ := harness.Versitygw(t)
		return s
	}, names...)
}
