package integration

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// A thousand small files cost one KMS call with bucket keys, and one each
// without; counted by the sandbox's KMS.
func TestBucketKeysSaveCalls(t *testing.T) {
	for mode, want := range map[string]int{"on": 1, "off": 1000} {
		t.Run(mode, func(t *testing.T) {
			s := harness.Sandbox(t)
			m := s.Mount(t, "--bucket-key="+mode)
			var g errgroup.Group
			g.SetLimit(8)
			for i := range 1000 {
				g.Go(func() error { harness.Write(t, m.Path(fmt.Sprint(i)), []byte("small")); return nil })
			}
			harness.Must(t, g.Wait())
			got := s.Sandbox.Log.Count("GenerateDataKey")
			if got != want && (mode == "off" || got > want) { // the probe may have made the bucket's key
				t.Errorf("%d GenerateDataKey for 1,000 files, want %d", got, want)
			}
			s.MustBeEncrypted(t)
		})
	}
}
