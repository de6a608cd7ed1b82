package thirdparty

import (
	"testing"

	"github.com/kmsfs/kmsfs/integration/backup"
	"github.com/kmsfs/kmsfs/integration/harness"
)

// certified are the backup programs that run here, too: those that lock, that
// rename and that change in place. A certification runs all.
func certified() []string {
	if backup.Certifying() {
		return nil
	}
	return []string{"restic", "borg", "rsync"}
}

func TestBackupMinIO(t *testing.T) {
	for _, mode := range backup.Modes(harness.SSE) {
		t.Run(string(mode), func(t *testing.T) {
			backup.Run(t, mode, func(t testing.TB) *harness.Server { return harness.MinIO(t, false) }, certified()...)
		})
	}
}

func TestBackupVersitygw(t *testing.T) {
	backup.Run(t, harness.Envelope, func(t testing.TB) *harness.Server {
		s, _ := harness.Versitygw(t)
		return s
	}, certified()...)
}
