package posix

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// steps are the kinds of operation that a worker can do.
var steps = map[string]func(s *side, o op) outcome{
	// Files by name.
	"open":      doOpen, // also create, and with O_TRUNC, O_EXCL, O_APPEND, O_TMPFILE
	"truncate":  func(s *side, o op) outcome { return failed(unix.Truncate(s.path(o.Path), o.Off)) },
	"unlink":    func(s *side, o op) outcome { return failed(unix.Unlink(s.path(o.Path))) },
	"mkdir":     func(s *side, o op) outcome { return failed(unix.Mkdir(s.path(o.Path), o.Mode)) },
	"rmdir":     func(s *side, o op) outcome { return failed(unix.Rmdir(s.path(o.Path))) },
	"mkfifo":    func(s *side, o op) outcome { return failed(unix.Mkfifo(s.path(o.Path), o.Mode)) },
	"symlink":   func(s *side, o op) outcome { return failed(unix.Symlink(o.To, s.path(o.Path))) },
	"readlink":  doReadlink,
	"rename":    doRename,
	"link":      doLink,
	"list":      doList,
	"stat":      doStat,
	"lstat":     doLstat,
	"chmod":     func(s *side, o op) outcome { return failed(unix.Chmod(s.path(o.Path), o.Mode)) },
	"chown":     func(s *side, o op) outcome { return failed(unix.Lchown(s.path(o.Path), o.UID, o.GID)) },
	"utimens":   doUtimens,
	"setxattr":  doSetxattr,
	"getxattr":  doGetxattr,
	"rmxattr":   func(s *side, o op) outcome { return failed(unix.Removexattr(s.path(o.Path), o.Name)) },
	"copy":      doCopy,
	"fsync dir": doFsyncDir,
	"tree":      doTree,

	// Files that are open.
	"close":     doClose,
	"dup close": doDupClose,
	"close all": func(s *side, o op) outcome { return failed(s.closeAll()) },
	"fsync":     func(s *side, o op) outcome { return failed(unix.Fsync(s.fd(o))) },
	"fstat":     doFstat,
	"fchmod":    func(s *side, o op) outcome { return failed(unix.Fchmod(s.fd(o), o.Mode)) },
	"ftruncate": func(s *side, o op) outcome { return failed(unix.Ftruncate(s.fd(o), o.Off)) },
	"write":     func(s *side, o op) outcome { return counted(unix.Write(s.fd(o), o.content())) },
	"write end": doWriteEnd,
	"pwrite":    func(s *side, o op) outcome { return counted(unix.Pwrite(s.fd(o), o.content(), o.Off)) },
	"read":      doRead,
	"pread":     doPread,
	"fallocate": func(s *side, o op) outcome {
		return failed(unix.Fallocate(s.fd(o), o.Mode, o.Off, int64(o.Len)))
	},
	"seek data":  doSeek,
	"map write":  doMapWrite,
	"copy range": doCopyRange,
}

func doOpen(s *side, o op) outcome {
	if err := s.closeSlot(o.Slot); err != nil {
		return outcome{Err: "close: " + failed(err).Err}
	}
	// Not to wait for the other end of a FIFO.
	fd, err := unix.Open(s.path(o.Path), o.Flags|unix.O_NONBLOCK|unix.O_CLOEXEC, o.Mode)
	if err == nil {
		s.fds[o.Slot] = fd
	}
	return failed(err)
}

func doClose(s *side, o op) outcome {
	if s.fd(o) < 0 {
		return failed(unix.EBADF)
	}
	return failed(s.closeSlot(o.Slot))
}

// doDupClose closes a duplicate: what was written so far is committed, and
// writing can go on.
func doDupClose(s *side, o op) outcome {
	fd, err := unix.Dup(s.fd(o))
	if err == nil {
		err = unix.Close(fd)
	}
	return failed(err)
}

func doReadlink(s *side, o op) outcome {
	buf := make([]byte, 4096)
	n, err := unix.Readlink(s.path(o.Path), buf)
	out := counted(n, err)
	out.Data = buf[:max(n, 0)]
	return out
}

func doRename(s *side, o op) outcome {
	return failed(unix.Renameat2(unix.AT_FDCWD, s.path(o.Path), unix.AT_FDCWD, s.path(o.To), uint(o.Flags)))
}

func doList(s *side, o op) outcome {
	fd, err := unix.Open(s.path(o.Path), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return failed(err)
	}
	f := os.NewFile(uintptr(fd), o.Path)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	out := failed(err)
	for _, name := range names {
		out.Lines = append(out.Lines, fmt.Sprintf("%q", name))
	}
	slices.Sort(out.Lines)
	return out
}

func doStat(s *side, o op) outcome {
	var st unix.Stat_t
	return shown(unix.Stat(s.path(o.Path), &st), &st, s.path(o.Path))
}

func doLstat(s *side, o op) outcome {
	var st unix.Stat_t
	return shown(unix.Lstat(s.path(o.Path), &st), &st, s.path(o.Path))
}

func doFstat(s *side, o op) outcome {
	var st unix.Stat_t
	return shown(unix.Fstat(s.fd(o), &st), &st, "")
}

func shown(err error, st *unix.Stat_t, path string) outcome {
	out := failed(err)
	if err == nil {
		out.Lines = []string{statusOf(st, path).String()}
	}
	return out
}

func doUtimens(s *side, o op) outcome {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: o.Sec, Nsec: o.Nsec}}
	return failed(unix.UtimesNanoAt(unix.AT_FDCWD, s.path(o.Path), times, unix.AT_SYMLINK_NOFOLLOW))
}

func doSetxattr(s *side, o op) outcome {
	return failed(unix.Setxattr(s.path(o.Path), o.Name, o.content(), o.Flags))
}

func doGetxattr(s *side, o op) outcome {
	buf := make([]byte, 64<<10)
	n, err := unix.Getxattr(s.path(o.Path), o.Name, buf)
	out := counted(n, err)
	out.Data = buf[:max(n, 0)]
	return out
}

// doFsyncDir also works for files, as fsync through a read-only descriptor.
func doFsyncDir(s *side, o op) outcome {
	fd, err := unix.Open(s.path(o.Path), unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return failed(err)
	}
	err = unix.Fsync(fd)
	if closed := unix.Close(fd); err == nil {
		err = closed
	}
	return failed(err)
}

func doTree(s *side, _ op) outcome {
	lines, err := s.tree(s.root)
	if err != nil {
		return outcome{Err: err.Error()}
	}
	return outcome{Lines: lines}
}
