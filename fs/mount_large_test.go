package fs

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestTheKernelIsAskedToForget: a walk over more files than are to be remembered
// leaves few behind, what is in use goes on as it was, and what was forgotten is
// found again with the same inode number.
func TestTheKernelIsAskedToForget(t *testing.T) {
	if !canPrune(t) {
		t.Log("this kernel cannot be asked")
		return
	}
	w := newWorld(t)
	b := w.other()
	names := make([]string, 600)
	for i := range names {
		names[i] = fmt.Sprintf("f%03d", i)
	}
	fillBucket(t, w, b, "many/", names)
	m := w.mount(func(s *served) { s.FS.PosixAttrs, s.FS.MostNodes = true, 100 })
	kept, err := os.OpenFile(m.path("many/"+names[0]), os.O_RDWR, 0)
	check(t, err)
	_, err = kept.WriteString("not committed yet")
	check(t, err)
	inos := make(map[string]os.FileInfo)
	for _, name := range names {
		info, err := os.Lstat(m.path("many/" + name))
		check(t, err)
		inos[name] = info
	}
	waitFor(t, "the kernel to forget", func() bool {
		if _, err := os.Lstat(m.path("many/" + names[0])); err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(m.ask("nodes"))
		check(t, err)
		return n <= 200
	})
	for _, name := range names {
		info, err := os.Lstat(m.path("many/" + name))
		check(t, err)
		if !os.SameFile(info, inos[name]) || info.Mode() != inos[name].Mode() {
			t.Errorf("%s is another file now", name)
		}
	}
	check(t, kept.Close())
	text, err := os.ReadFile(m.path("many/" + names[0]))
	check(t, err)
	if string(text) != "not committed yet" {
		t.Errorf("what was being written is %q", text)
	}
	m.close()
}

// TestAttributesOfLargeDirectoriesAreForThoseWhoWantThem: a directory of two
// pages that is only listed costs the requests for the first one's attributes, one
// whose entries are looked at those for all of them, and once more where they are
// too old by then. Listings there are for the directory, not for its entries.
func TestAttributesOfLargeDirectoriesAreForThoseWhoWantThem(t *testing.T) {
	w := newWorld(t)
	b := w.other()
	names := make([]string, pageSize+500)
	for i := range names {
		names[i] = fmt.Sprintf("f%05d", i)
	}
	fillBucket(t, w, b, "many/", names)
	for what, most := range map[string]struct{ heads, lists int }{
		"list": {pageSize + 10, 10}, "look as they come": {2 * len(names), len(names) * 2 / 3}, "look later": {2 * len(names), len(names) * 2 / 3},
	} {
		m := w.mount(func(s *served) { s.FS.PosixAttrs, s.FS.AttrTTL = true, 10*time.Millisecond })
		dir := m.path("many")
		w.box.Log.Reset()
		d, err := os.Open(dir)
		check(t, err)
		for n := 0; n < len(names); {
			some, err := d.Readdirnames(map[bool]int{true: 100, false: len(names)}[what == "look as they come"])
			check(t, err)
			n += len(some)
			for _, name := range some {
				if what == "list" {
					break
				}
				info, err := os.Lstat(filepath.Join(dir, name))
				check(t, err)
				if info.Mode() != 0o660 {
					t.Errorf("%s has mode %v", name, info.Mode())
				}
			}
		}
		check(t, d.Close())
		if c := w.box.Log.Counts(); c["HeadObject"] > most.heads || c["ListObjectsV2"] > most.lists || what != "list" && c["HeadObject"] < len(names) {
			t.Errorf("%s: %v", what, c)
		}
		m.close()
	}
}

// canPrune reports whether the kernel is 6.18 or later.
func canPrune(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	check(t, err)
	var major, minor int
	_, err = fmt.Sscanf(string(text), "%d.%d", &major, &minor)
	check(t, err)
	return major > 6 || major == 6 && minor >= 18
}
