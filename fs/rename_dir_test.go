//go:build linux

package fs

import (
	"fmt"
	"os"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

func TestWhatARenameIsAtCanBeAsked(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	check(t, os.Mkdir(m.path("a"), 0755))
	for i := range 4 {
		m.write(fmt.Sprintf("a/f%d", i), "x")
	}
	rule := w.box.Faults.Add(wire.Fault{Op: "DeleteObject", Kind: wire.Hang})
	err := m.behind("rename /a to /b: 0 of 5 objects moved", func() error { return os.Rename(m.path("a"), m.path("b")) }, rule.Remove)
	check(t, err)
	m.wants("b/f3", "x")
}

func TestNumbersAreGrouped(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 12_034: "12,034", 1_000_007: "1,000,007"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is written %s", n, got)
		}
	}
}
