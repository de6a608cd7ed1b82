//go:build linux

package fs

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// The attributes of directories that were known when the listing asked for those of the
// others, and are too old when they are read, are asked for then.
func TestASlowListingShowsTheModesOfDirectories(t *testing.T) {
	w := newWorld(t)
	b := w.other()
	const ttl = 500 * time.Millisecond
	m := w.mount(func(s *served) { s.FS.AttrTTL = ttl })
	check(t, os.Mkdir(m.path("d"), 0755))
	for i := range 200 {
		w.put(b, fmt.Sprintf("d/s%03d/", i), "")
	}
	w.put(b, "d/s", "one that is not known")
	sub := m.path("d/s199")
	check(t, os.Chmod(sub, 0700))
	m.ask("drain")
	waitFor(t, "the window to pass", func() bool { _, err := os.Stat(m.path("d/s")); return err == nil })
	w.put(b, "d/a", "another")
	check(t, os.Chtimes(sub, time.Time{}, time.Now()))
	m.ask("drain")
	stat(t, sub)
	d, err := syscall.Open(m.path("d"), syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	check(t, err)
	defer syscall.Close(d)
	buf := make([]byte, 1024)
	_, err = syscall.Getdents(d, buf)
	check(t, err)
	<-time.After(2 * ttl)
	for n := 1; n > 0; {
		n, err = syscall.Getdents(d, buf)
		check(t, err)
	}
	if st := stat(t, sub); st.Mode&07777 != 0700 {
		t.Errorf("the mode is %o", st.Mode)
	}
}
