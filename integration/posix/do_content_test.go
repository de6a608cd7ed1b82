package posix

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// doWriteEnd writes where the file ends. Where a directory does is not the same
// everywhere.
func doWriteEnd(s *side, o op) outcome {
	var st unix.Stat_t
	err := unix.Fstat(s.fd(o), &st)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
		_, err = unix.Seek(s.fd(o), 0, io.SeekEnd)
	}
	if err != nil {
		return failed(err)
	}
	return counted(unix.Write(s.fd(o), o.content()))
}

func doRead(s *side, o op) outcome {
	buf := make([]byte, o.Len)
	n, err := unix.Read(s.fd(o), buf)
	out := counted(n, err)
	out.Data = buf[:max(n, 0)]
	return out
}

func doPread(s *side, o op) outcome {
	buf := make([]byte, o.Len)
	n, err := unix.Pread(s.fd(o), buf, o.Off)
	out := counted(n, err)
	out.Data = buf[:max(n, 0)]
	return out
}

// doCopy copies a file as cp does: it opens the target for writing, cuts it,
// and closes it.
func doCopy(s *side, o op) outcome {
	return between(s, o, func(from, to int) error {
		buf := make([]byte, 128<<10)
		for {
			n, err := unix.Read(from, buf)
			if n <= 0 || err != nil {
				return err
			}
			if _, err := unix.Write(to, buf[:n]); err != nil {
				return err
			}
		}
	})
}

// doCopyRange leaves the copying to the kernel.
func doCopyRange(s *side, o op) outcome {
	return between(s, o, func(from, to int) error {
		for {
			n, err := unix.CopyFileRange(from, nil, to, nil, 1<<30, 0)
			if n <= 0 || err != nil {
				return err
			}
		}
	})
}

// between opens two files, calls f, and closes them.
func between(s *side, o op, f func(from, to int) error) outcome {
	from, err := unix.Open(s.path(o.Path), unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return failed(err)
	}
	defer unix.Close(from)
	if o.Path == o.To {
		return failed(unix.EINVAL) // it would be cut while it is read
	}
	to, err := unix.Open(s.path(o.To), unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NONBLOCK, o.Mode)
	if err != nil {
		return failed(err)
	}
	err = f(from, to)
	if closed := unix.Close(to); err == nil {
		err = closed
	}
	return failed(err)
}

// doMapWrite changes a file through a shared mapping and reads it back.
func doMapWrite(s *side, o op) outcome {
	fd := s.fd(o)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return failed(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return failed(nil)
	}
	length := int(min(st.Size, 9<<20))
	mapped, err := unix.Mmap(fd, 0, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return failed(err)
	}
	from := int(min(o.Off, int64(length)))
	n := copy(mapped[from:], o.content())
	out := counted(n, unix.Msync(mapped, unix.MS_SYNC))
	out.Data = append([]byte(nil), mapped...)
	if err := unix.Munmap(mapped); err != nil {
		return failed(err)
	}
	if n > 0 && !s.mount {
		afterMapping(fd, st.Mode)
	}
	return out
}

// doSeek looks for data and holes. Where they are is not the same on two file
// systems: it is only checked that what is said can be.
func doSeek(s *side, o op) outcome {
	fd := s.fd(o)
	at, err := unix.Seek(fd, 0, io.SeekCurrent)
	if err != nil {
		return failed(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return failed(err)
	}
	data, dataErr := unix.Seek(fd, o.Off, unix.SEEK_DATA)
	hole, holeErr := unix.Seek(fd, o.Off, unix.SEEK_HOLE)
	if _, err := unix.Seek(fd, at, io.SeekStart); err != nil {
		return failed(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return failed(nil)
	}
	switch {
	case o.Off >= st.Size:
		return outcome{Err: failed(dataErr).Err + " " + failed(holeErr).Err}
	case holeErr != nil || hole < o.Off || hole > st.Size:
		return outcome{Err: fmt.Sprintf("a hole from %d on of %d at %d: %v", o.Off, st.Size, hole, holeErr)}
	case dataErr == unix.ENXIO:
		data = st.Size // a hole to the end
	case dataErr != nil || data < o.Off || data >= st.Size:
		return outcome{Err: fmt.Sprintf("data from %d on of %d at %d: %v", o.Off, st.Size, data, dataErr)}
	}
	gap := make([]byte, min(data-o.Off, 9<<20))
	n, err := unix.Pread(fd, gap, o.Off)
	if err == unix.EBADF {
		return failed(nil) // cannot be read
	}
	for i, b := range gap[:max(n, 0)] {
		if b != 0 {
			return outcome{Err: fmt.Sprintf("data at %d where there is said to be a hole up to %d", o.Off+int64(i), data)}
		}
	}
	return failed(err)
}
