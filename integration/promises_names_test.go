package integration

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/integration/suite"
)

// fromSuite runs a case of the common suite as the test of a promise.
func fromSuite(t *testing.T, name string) {
	t.Helper()
	for _, c := range suite.Cases() {
		if c.Name == name {
			c.Run(t, sandboxed(t))
			return
		}
	}
	t.Fatalf("the suite has no case %q", name)
}

func inodesAreStable(t *testing.T) { fromSuite(t, "inode numbers are stable") }

func writtenAnywhere(t *testing.T) {
	for _, name := range []string{"writing anywhere", "what has left the machine is read and rewritten", "holes"} {
		t.Run(name, func(t *testing.T) { fromSuite(t, name) })
	}
}

func refusedNotSilent(t *testing.T) {
	fromSuite(t, "what is not supported is refused")
}

func namesOfKeys(t *testing.T) {
	s := sandboxed(t)
	for _, key := range []string{"plain", "a//b", "./x", "../y", "c/..", "both", "both/in", ".kmsfs/secret", "e/", "//z"} {
		s.Put(t, key, []byte(key))
	}
	m := s.Mount(t)
	got := harness.Names(t, m.Dir)
	for _, name := range []string{"plain", "both", "e"} {
		if !slices.Contains(got, name) {
			t.Errorf("%s is not shown in %q", name, got)
		}
	}
	if slices.Contains(got, ".kmsfs") {
		t.Error(".kmsfs is shown")
	}
	harness.Want(t, m.Path("both/in"), []byte("both/in"))
	var object string
	for _, name := range got {
		if strings.HasPrefix(name, "both") && name != "both" {
			object = name
		}
	}
	if object == "" {
		t.Fatalf("the object both is not shown beside its directory: %q", got)
	}
	harness.Want(t, m.Path(object), []byte("both"))
	harness.Must(t, os.Remove(m.Path(object)))
	harness.Want(t, m.Path("both/in"), []byte("both/in"))
	if keys := s.Keys(t); slices.Contains(keys, "both") || !slices.Contains(keys, "both/in") || !slices.Contains(keys, "a//b") {
		t.Errorf("keys after the removal: %q", keys)
	}
}
