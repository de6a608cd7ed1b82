package backup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// Case is a program's story, from testdata.
type Case struct {
	Name      string
	Packages  string // Debian's
	Version   string // a command whose first line is the program's version
	Certifies string // what is done, in words for the table

	path string
}

// Cases returns the cases of those names, or all, sorted.
func Cases(t testing.TB, names ...string) (all []Case) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(harness.Root(), "integration/backup/testdata/*.sh"))
	harness.Must(t, err)
	for _, path := range paths {
		c := Case{Name: strings.TrimSuffix(filepath.Base(path), ".sh"), path: path}
		if len(names) > 0 && !slices.Contains(names, c.Name) {
			continue
		}
		text, err := os.ReadFile(path)
		harness.Must(t, err)
		for mark, value := range map[string]*string{"# packages: ": &c.Packages, "# version: ": &c.Version, "# certifies: ": &c.Certifies} {
			for line := range strings.Lines(string(text)) {
				if rest, ok := strings.CutPrefix(line, mark); ok {
					*value = strings.TrimSpace(rest)
				}
			}
			if *value == "" {
				t.Fatalf("%s has no line %q", path, mark)
			}
		}
		all = append(all, c)
	}
	if len(all) < max(1, len(names)) {
		t.Fatalf("%d cases found of %q", len(all), names)
	}
	return all
}
