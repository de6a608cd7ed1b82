package posix

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// side is one of the two directories that a worker works in: the mount, or the
// plain one.
type side struct {
	root  string
	mount bool
	fds   map[int]int // by slot
}

// odd stands in programs for a name that is neither UTF-8 nor printable.
const odd = "o"

// path returns where a program's path is.
func (s *side) path(rel string) string {
	parts := strings.Split(rel, "/")
	for i, p := range parts {
		if p == odd {
			parts[i] = "\xff%2F\n‛"
		}
	}
	return s.root + "/" + strings.Join(parts, "/")
}

// fd returns the descriptor in a slot, or one that is no descriptor.
func (s *side) fd(o op) int {
	if fd, ok := s.fds[o.Slot]; ok {
		return fd
	}
	return -1
}

// closeSlot closes what is in a slot, if something is.
func (s *side) closeSlot(slot int) error {
	fd, ok := s.fds[slot]
	if !ok {
		return nil
	}
	delete(s.fds, slot)
	return unix.Close(fd)
}

// closeAll closes all slots, in order, and returns the first error.
func (s *side) closeAll() (first error) {
	slots := make([]int, 0, len(s.fds))
	for slot := range s.fds {
		slots = append(slots, slot)
	}
	slices.Sort(slots)
	for _, slot := range slots {
		if err := s.closeSlot(slot); first == nil {
			first = err
		}
	}
	return first
}

// failed is the outcome of a step that returns nothing but an error.
func failed(err error) outcome { return counted(0, err) }

// counted is the outcome of a step that returns a number.
func counted(n int, err error) outcome {
	if err == nil {
		return outcome{N: int64(n)}
	}
	errno, ok := err.(unix.Errno)
	if !ok {
		return outcome{Err: err.Error()}
	}
	return outcome{Err: unix.ErrnoName(errno)}
}

// content is what a step writes.
func (o op) content() []byte { return harness.Random(o.Seed, o.Len) }

// statusOf turns what stat(2) says into what is compared. Attributes and the
// target of a link are asked for by path; "" leaves them out.
func statusOf(st *unix.Stat_t, path string) status {
	s := status{
		mode: st.Mode, size: st.Size, nlink: uint64(st.Nlink), uid: st.Uid, gid: st.Gid,
		sec: st.Mtim.Sec, nsec: st.Mtim.Nsec,
	}
	if path == "" {
		return s
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		s.target, _ = os.Readlink(path)
	case unix.S_IFREG, unix.S_IFDIR:
		s.xattrs = xattrsOf(path)
	}
	return s
}

// xattrsOf lists a file's own extended attributes with their values.
func xattrsOf(path string) string {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		return err.Error()
	}
	var all []string
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if !shownXattr(name) {
			continue
		}
		value := make([]byte, 64<<10)
		k, err := unix.Lgetxattr(path, name, value)
		all = append(all, fmt.Sprintf("%s=%x%s", name, value[:max(k, 0)], failed(err).Err))
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// sum returns a checksum of data, short enough to be read.
func sum(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:6])
}

// tree returns a line for everything below a directory, content included.
func (s *side) tree(dir string) (lines []string, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return nil, err
	}
	view := statusOf(&st, dir)
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		data, err := os.ReadFile(dir)
		if err != nil {
			return nil, err
		}
		view.content = sum(data)
	}
	rel, err := filepath.Rel(s.root, dir)
	if err != nil {
		return nil, err
	}
	lines = append(lines, fmt.Sprintf("%q %v", rel, view))
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return lines, nil
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		below, err := s.tree(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		lines = append(lines, below...)
	}
	return lines, err
}
