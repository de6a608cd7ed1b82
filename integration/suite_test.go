package integration

import (
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/integration/suite"
)

func TestMain(m *testing.M) { harness.Main(m) }

func TestSuite(t *testing.T) { suite.Run(t, harness.Sandbox) }
