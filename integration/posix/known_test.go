package posix

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// This file is the only place where a mount may differ from a plain directory.
// docs/SEMANTICS.md documents each difference:
//
//   - Hard links are EPERM: an object has one name.
//   - Access and change times are not compared: the former are not kept, and
//     the latter are the moments of two different calls.
//   - A modification time that no utimens set is a moment, too: it is only
//     compared whether it was set by utimens (see explicit) or since.
//   - The times that a directory gets because its entries changed are not kept.
//   - Nor are those that a FIFO gets because something was written to it: the
//     kernel does not tell.
//   - Stores in a shared mapping take suid and sgid off as write(2) does: the
//     kernel does not tell which it was. See afterMapping.
//   - The sizes, links and blocks of directories are made up, as are blocks
//     of files.
//   - The attributes in user.kmsfs are the mount's own.

// explicit says whether a modification time was set by utimens: programs set
// times that have long gone by.
func explicit(sec int64) bool { return sec < 1_500_000_000 }

// String is what is compared of a status.
func (s status) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mode %07o owner %d:%d", s.mode, s.uid, s.gid)
	directory := s.mode&unix.S_IFMT == unix.S_IFDIR
	if !directory {
		fmt.Fprintf(&b, " size %d links %d", s.size, s.nlink)
	}
	if s.target != "" {
		fmt.Fprintf(&b, " target %q", s.target)
	}
	if s.xattrs != "" {
		fmt.Fprintf(&b, " xattrs %s", s.xattrs)
	}
	if s.content != "" {
		fmt.Fprintf(&b, " content %s", s.content)
	}
	switch {
	case explicit(s.sec):
		fmt.Fprintf(&b, mtime+"%d.%09d", s.sec, s.nsec)
	case directory || s.mode&unix.S_IFMT == unix.S_IFIFO:
		b.WriteString(mtime + changed)
	default:
		b.WriteString(mtime + "later")
	}
	return b.String()
}

// mtime comes last in the status of a file, and changed after it where a time
// that is not kept has taken the place of one that was set.
const (
	mtime   = " mtime "
	changed = "(not kept)"
)

// tolerated says whether two lines that differ may do so: where a time is not
// kept, any may be shown.
func tolerated(mount, plain string) bool {
	if !strings.HasSuffix(plain, mtime+changed) {
		return false
	}
	m, _, _ := strings.Cut(mount, mtime)
	p, _, _ := strings.Cut(plain, mtime)
	return m == p
}

// shownXattr says whether an extended attribute is compared.
func shownXattr(name string) bool {
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.kmsfs.")
}

// doLink makes a hard link, which is undone where that is possible: a mount
// refuses what succeeds elsewhere.
func doLink(s *side, o op) outcome {
	err := unix.Link(s.path(o.Path), s.path(o.To))
	if err == nil {
		err = unix.Unlink(s.path(o.To))
		if err == nil && !s.mount {
			err = unix.EPERM
		}
	}
	return failed(err)
}

// afterMapping does on the plain side what a mount does to the mode after
// stores in a mapping.
func afterMapping(fd int, mode uint32) {
	without := mode &^ unix.S_ISUID
	if mode&unix.S_IXGRP != 0 {
		without &^= unix.S_ISGID
	}
	if without != mode {
		_ = unix.Fchmod(fd, without&0o7777)
	}
}
