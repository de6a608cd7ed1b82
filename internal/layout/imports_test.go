package layout

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/kmsfs/kmsfs"

// owners says which of our packages may import a foreign one, each by the
// beginning of its path: every foreign system is faced by one package.
// internal/sandbox and integration are no production code; the former plays
// these systems, the latter looks at them from outside.
func owners() map[string][]string {
	return map[string][]string{
		"github.com/hanwen/go-fuse":                   {"fs"},
		"github.com/dgraph-io/ristretto":              {"cache"},
		"github.com/aws/aws-sdk-go-v2/service/s3":     {"s3io", "integration"},
		"github.com/aws/aws-sdk-go-v2/feature/s3":     {"s3io", "integration"},
		"github.com/aws/aws-sdk-go-v2/service/kms":    {"crypto", "integration"},
		"github.com/spf13/cobra":                      {"cmd"},
		"github.com/rclone/gofakes3":                  {"internal/sandbox"},
		"github.com/kmsfs/kmsfs/internal/sandbox":     {"internal/sandbox", "cmd", "integration"},
		"github.com/kmsfs/kmsfs/integration":          {"integration"},
		"testing":                                     {"integration", "internal/sandbox/wire/wiretest"},
		"net/http/httptest":                           {"integration", "internal/sandbox/wire/wiretest"},
		"pgregory.net/rapid":                          {"integration"},
		"github.com/google/go-cmp":                    {"integration", "internal/sandbox/wire/wiretest"},
		"github.com/aws/aws-sdk-go-v2/config":         {"s3io", "cmd", "integration"},
		"github.com/kmsfs/kmsfs/cmd":                  nil,
		"github.com/kmsfs/kmsfs/internal/sandbox/kms": {"internal/sandbox", "integration"},
	}
}

// layers says which of our packages each production package may import.
func layers() map[string][]string {
	return map[string][]string{
		"cache":            nil,
		"crypto":           nil,
		"internal/ctl":     nil,
		"internal/layout":  nil,
		"internal/testlog": nil,
		"s3io":             {"crypto"},
		"fs":               {"s3io", "cache"},
		"cmd/kmsfs":        {"fs", "s3io", "crypto", "cache", "internal/ctl", "internal/sandbox"},
	}
}

// pkg is what `go list -json` says of one package, without its tests.
type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

// packages returns all packages of the project, as built for goos.
func packages(t *testing.T, goos string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Standard", module+"/...")
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if !p.Standard && within(p.ImportPath, module) {
			all = append(all, p)
		}
	}
}

// within reports whether path is root or lies below it.
func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

func TestImportsPointInwards(t *testing.T) {
	for _, goos := range []string{"linux", "darwin"} {
		seen := 0
		for _, p := range packages(t, goos) {
			name := strings.TrimPrefix(p.ImportPath, module+"/")
			for _, imported := range p.Imports {
				checkOwner(t, name, imported)
				checkLayer(t, name, imported)
			}
			if _, ok := layers()[name]; ok {
				seen++
			} else if !within(name, "internal/sandbox") && !within(name, "integration") {
				t.Errorf("%s: package %s has no place in the order of imports: give it one", goos, name)
			}
		}
		if seen < 6 {
			t.Errorf("%s: only %d production packages were looked at", goos, seen)
		}
	}
}

func checkOwner(t *testing.T, name, imported string) {
	t.Helper()
	for foreign, owner := range owners() {
		if !within(imported, foreign) {
			continue
		}
		if !slices.ContainsFunc(owner, func(o string) bool { return within(name, o) }) {
			t.Errorf("%s imports %s, which is left to %v", name, imported, owner)
		}
	}
}

func checkLayer(t *testing.T, name, imported string) {
	t.Helper()
	allowed, ok := layers()[name]
	ours, isOurs := strings.CutPrefix(imported, module+"/")
	if ok && isOurs && !slices.Contains(allowed, ours) {
		t.Errorf("%s imports %s; of ours it may import %v only", name, ours, allowed)
	}
}
