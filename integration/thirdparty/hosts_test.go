package thirdparty

import (
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/integration/suite"
)

// Several hosts on servers that check other conditions than AWS does.
func TestHostsOnMinIO(t *testing.T) {
	suite.Hosts(t, harness.MinIO(t, false).In(t, harness.Both))
}

func TestHostsOnVersitygw(t *testing.T) {
	s, _ := harness.Versitygw(t)
	suite.Hosts(t, s.In(t, harness.Envelope))
}
