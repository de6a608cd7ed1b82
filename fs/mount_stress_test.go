//go:build linux

package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// Many things at once to few names: whatever the order, a name has the whole
// content of one writer, and nothing but what POSIX has for such races fails.
func TestRacingOperations(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(s *served) { s.FS.AttrTTL = 50 * time.Millisecond })
	check(t, os.Mkdir(m.path("d"), 0755))
	check(t, os.Mkdir(m.path("e"), 0755))
	names := []string{"a", "b", "d/a", "d/b", "e/a", "g/a"}
	var g errgroup.Group
	for worker := range 6 {
		g.Go(func() error {
			r := rand.New(rand.NewPCG(1, uint64(worker)))
			for i := range 80 {
				err := randomOperation(m, r, names, fmt.Sprintf("<%d.%d>", worker, i))
				if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
					return fmt.Errorf("operation %d of worker %d: %w", i, worker, err)
				}
			}
			return nil
		})
	}
	check(t, g.Wait())
	if got := m.ask("drain"); got != "" {
		t.Errorf("drain: %s", got)
	}
	for _, name := range names {
		if err := checkWhole(m.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	m.close()
	for _, key := range w.keys() {
		if strings.HasPrefix(key, reservedName) {
			t.Errorf("%s is left", key)
		}
	}
}

func randomOperation(m *mount, r *rand.Rand, names []string, token string) error {
	name := m.path(names[r.IntN(len(names))])
	switch r.IntN(10) {
	case 9:
		dirs := []string{m.path("d"), m.path("g")}
		i := r.IntN(2)
		return os.Rename(dirs[i], dirs[1-i])
	case 0, 1, 2: // a new file of its own, moved into place: what careful programs do
		tmp := m.path(strings.Trim(token, "<>"))
		if err := os.WriteFile(tmp, bytes.Repeat([]byte(token), 1+r.IntN(40_000)), 0644); err != nil {
			return err
		}
		return os.Rename(tmp, name)
	case 3:
		return os.Remove(name)
	case 4:
		return os.Rename(name, m.path(names[r.IntN(len(names))]))
	case 5:
		return os.Chmod(name, 0600|os.FileMode(r.IntN(077)))
	case 6:
		_, err := os.ReadDir(m.dir)
		return err
	case 7:
		return checkWhole(name)
	}
	_, err := os.Stat(name)
	return err
}

// checkWhole reads a file through one descriptor and expects one token only. A
// file that is replaced just when it is opened makes the kernel ask once more;
// if it is replaced again then, open(2) fails with ESTALE.
func checkWhole(path string) error {
	content, err := os.ReadFile(path)
	for i := 0; i < 3 && errors.Is(err, syscall.ESTALE); i++ {
		content, err = os.ReadFile(path)
	}
	if err != nil {
		return err
	}
	i := bytes.IndexByte(content, '>') + 1
	if i == 0 || len(content)%i != 0 || !bytes.Equal(content, bytes.Repeat(content[:i], len(content)/i)) {
		return fmt.Errorf("%s is a mix: %.60q", path, content)
	}
	return nil
}
