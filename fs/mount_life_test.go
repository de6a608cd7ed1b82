//go:build linux

package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

func TestUnlinkedOpenFilesStayUsable(t *testing.T) {
	for _, size := range []int{0, 1000, heldFile + 1, 9 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w := newWorld(t)
			m := w.mount(nil)
			content := strings.Repeat("0123456789", size/10+1)[:size]
			m.write("f", content)
			f, err := os.OpenFile(m.path("f"), os.O_RDWR, 0)
			check(t, err)
			check(t, os.Remove(m.path("f")))
			_, err = os.Stat(m.path("f"))
			m.fails(err, syscall.ENOENT)
			m.write("f", "another file")
			got, err := io.ReadAll(io.NewSectionReader(f, 0, int64(size)+1))
			if err != nil || string(got) != content {
				t.Errorf("%d of %d bytes are left, %v", len(got), size, err)
			}
			_, err = f.WriteAt([]byte("tail"), int64(size))
			check(t, err)
			tail := make([]byte, 4)
			if _, err := f.ReadAt(tail, int64(size)); err != nil || string(tail) != "tail" {
				t.Errorf("the tail reads %q, %v", tail, err)
			}
			check(t, f.Sync())
			check(t, f.Close())
			m.wants("f", "another file")
			m.close()
			if keys := w.keys(); !cmp.Equal(keys, []string{"f"}) {
				t.Errorf("left are %q", keys)
			}
		})
	}
}

func TestATemporaryFileThatIsUnlinkedAtOnce(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	f, err := os.OpenFile(m.path("t"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0600)
	check(t, err)
	check(t, os.Remove(m.path("t")))
	content := strings.Repeat("x", 20<<20)
	_, err = f.WriteString(content)
	check(t, err)
	got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil || string(got) != content {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	check(t, f.Close())
	m.close()
	if keys := w.keys(); len(keys) > 0 {
		t.Errorf("left are %q", keys)
	}
}

func TestSomebodyElseChangesAFile(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(s *served) { s.FS.AttrTTL = 0 })
	b := w.other()
	w.put(b, "f", "one")
	m.wants("f", "one")
	r, err := os.Open(m.path("f"))
	check(t, err)
	defer r.Close()
	wr, err := os.OpenFile(m.path("f"), os.O_WRONLY|os.O_APPEND, 0)
	check(t, err)
	before := stat(t, m.path("f"))
	w.put(b, "f", "three")
	m.wants("f", "three")
	after := stat(t, m.path("f"))
	if before.Ino != after.Ino {
		t.Error("the inode number changed")
	}
	if st, err := r.Stat(); err != nil || st.Size() != 3 {
		t.Errorf("the old descriptor shows %d bytes, %v", st.Size(), err)
	}
	_, err = wr.WriteString("lost")
	m.fails(errors.Join(err, wr.Close()), syscall.ESTALE)
	m.wants("f", "three")
	check(t, b.Delete(context.Background(), w.head(b, "f")))
	_, err = os.Stat(m.path("f"))
	m.fails(err, syscall.ENOENT)
}

func TestCreatingOverSomebodyElsesFileFails(t *testing.T) {
	w := newWorld(t)
	m := w.mount(func(s *served) { s.FS.AttrTTL = 0 })
	f, err := os.OpenFile(m.path("f"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0644)
	check(t, err)
	_, err = f.WriteString("mine")
	check(t, err)
	w.put(w.other(), "f", "theirs")
	m.fails(f.Close(), syscall.ESTALE)
	m.wants("f", "theirs")
}

func TestAMappingThatOutlivesItsDescriptorIsCommitted(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("f", strings.Repeat("a", 8192))
	m.writeMapping("f")
	waitFor(t, "the commit", func() bool { return m.ask("pending") == "" })
	m.close()
	m = w.mount(nil)
	got, err := os.ReadFile(m.path("f"))
	if err != nil || string(got[4000:4019]) != "through the mapping" {
		t.Errorf("%q, %v", got[4000:4019], err)
	}
}

func TestAMappingThatCannotBeSavedIsToldOf(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("f", strings.Repeat("a", 8192))
	rule := w.box.Faults.Add(wire.Fault{Op: "PutObject", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
	m.writeMapping("f")
	waitFor(t, "the failure", func() bool { return m.ask("failures") != "" && m.ask("pending") == "" })
	rule.Remove()
	_, err := os.Open(m.path("f"))
	m.fails(err, syscall.EACCES)
	m.wants("f", strings.Repeat("a", 8192))
}

func TestDrainCommitsOpenFiles(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	f, err := os.Create(m.path("f"))
	check(t, err)
	_, err = f.WriteString("half")
	check(t, err)
	if got := m.ask("pending"); !strings.Contains(got, "/f: 4 bytes not committed") {
		t.Errorf("pending: %q", got)
	}
	if got := m.ask("drain"); got != "" {
		t.Errorf("drain: %q", got)
	}
	if o := w.head(w.other(), "f"); o.Size != 4 {
		t.Errorf("%d bytes are committed", o.Size)
	}
	if got := m.ask("unmount"); !strings.Contains(got, "busy") {
		t.Errorf("unmount: %q", got)
	}
	check(t, f.Close())
	if got := m.ask("unmount"); got != "" {
		t.Errorf("unmount: %q", got)
	}
}

func TestReadOnly(t *testing.T) {
	w := newWorld(t)
	w.put(w.other(), "f", "x")
	m := w.mount(func(s *served) { s.FS.ReadOnly, s.S3.ReadOnly = true, true })
	m.wants("f", "x")
	for _, err := range []error{os.WriteFile(m.path("g"), nil, 0644), os.Remove(m.path("f")), os.Mkdir(m.path("d"), 0755), os.Chmod(m.path("f"), 0600)} {
		m.fails(err, syscall.EROFS)
	}
}

func TestBadMountPoints(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	check(t, os.WriteFile(file, nil, 0644))
	for at, want := range map[string]string{
		filepath.Join(dir, "none"): "does not exist; create it",
		file:                       "not a directory",
		dir:                        "not empty",
		m.dir:                      "busy",
	} {
		if _, err := w.tryMount(at, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", at, err, want)
		}
	}
}

func TestStatDoesNotWaitForAHungUpload(t *testing.T) {
	w := newWorld(t)
	m := w.mount(nil)
	m.write("f", "old")
	rule := w.box.Faults.Add(wire.Fault{Op: "PutObject", Key: "p/f", Kind: wire.Hang})
	f, err := os.OpenFile(m.path("f"), os.O_WRONLY|os.O_TRUNC, 0)
	check(t, err)
	_, err = f.WriteString("newer")
	check(t, err)
	closed := make(chan error, 1)
	go func() { closed <- f.Close() }()
	waitFor(t, "the upload to hang", func() bool { return rule.Hits() > 0 })
	for range 3 {
		if st := stat(t, m.path("f")); st.Size != 5 {
			t.Errorf("size is %d", st.Size)
		}
		names, err := os.ReadDir(m.dir)
		if err != nil || len(names) != 1 {
			t.Errorf("%v, %v", names, err)
		}
	}
	m.write("g", "is not held up")
	select {
	case err := <-closed:
		t.Fatalf("close did not wait: %v", err)
	default:
	}
	if p := m.ask("pending"); !strings.Contains(p, "/f") {
		t.Errorf("pending: %s", p)
	}
	rule.Remove()
	check(t, <-closed)
	m.wants("f", "newer")
}
