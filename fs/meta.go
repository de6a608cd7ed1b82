package fs

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Names of POSIX attributes in user metadata, as s3fs writes them. It keeps no
// device numbers: their name and form are rclone's.
const (
	metaMode  = "mode"
	metaUID   = "uid"
	metaGID   = "gid"
	metaMtime = "mtime"
	metaCtime = "ctime"
	metaRdev  = "rdev" // hexadecimal, of device nodes only
)

// blockSize is st_blksize: what stdio takes as the size of its buffers, so
// large enough for the few requests that a write costs then.
const blockSize = 128 << 10

// attributes are what stat shows besides size and inode number.
type attributes struct {
	typ          uint32 // S_IFLNK, S_IFDIR, ...; 0 is a regular file
	mode         uint32 // permission bits with suid, sgid and sticky
	uid, gid     uint32
	rdev         uint32 // of device nodes, as the kernel encodes it
	mtime, ctime time.Time
}

// attributesOf reads user metadata over the defaults. What cannot be
// understood is as if it were absent. A directory stays one.
func attributesOf(meta map[string]string, a attributes) attributes {
	if typ, m, ok := parseMode(meta[metaMode], a.typ == syscall.S_IFDIR); ok {
		a.typ, a.mode = typ, m
	}
	if dev, err := strconv.ParseUint(meta[metaRdev], 16, 32); err == nil && a.isDevice() {
		a.rdev = uint32(dev)
	}
	if id, err := strconv.ParseUint(meta[metaUID], 10, 32); err == nil {
		a.uid = uint32(id)
	}
	if id, err := strconv.ParseUint(meta[metaGID], 10, 32); err == nil {
		a.gid = uint32(id)
	}
	if t, ok := parseTime(meta[metaMtime]); ok {
		a.mtime, a.ctime = t, t
	}
	if t, ok := parseTime(meta[metaCtime]); ok {
		a.ctime = t
	}
	return a
}

// fitting returns a for content of so many bytes. What cannot be what its mode
// says, a FIFO with content or a symlink to nowhere, is a regular file: else
// nobody could get at it.
func (a attributes) fitting(size int64) attributes {
	switch a.typ {
	case 0, syscall.S_IFDIR:
		return a
	case syscall.S_IFLNK:
		if size > 0 && size <= targetMax {
			return a
		}
	default:
		if size == 0 {
			return a
		}
	}
	a.typ, a.rdev = 0, 0
	return a
}

func (a attributes) isDevice() bool { return a.typ == syscall.S_IFCHR || a.typ == syscall.S_IFBLK }

// typeOr returns the file type, typ (S_IFREG or S_IFDIR) unless a has its own.
func (a attributes) typeOr(typ uint32) uint32 {
	if a.typ != 0 {
		return a.typ
	}
	return typ
}

// meta returns the metadata to store: the foreign part of old, and a with the
// file type typ (S_IFREG or S_IFDIR) unless a has its own.
func (a attributes) meta(old map[string]string, typ uint32) map[string]string {
	m := maps.Clone(old)
	if m == nil {
		m = make(map[string]string, 5)
	}
	m[metaMode] = strconv.FormatUint(uint64(a.mode|a.typeOr(typ)), 10)
	m[metaUID] = strconv.FormatUint(uint64(a.uid), 10)
	m[metaGID] = strconv.FormatUint(uint64(a.gid), 10)
	m[metaMtime] = formatTime(a.mtime)
	m[metaCtime] = formatTime(a.ctime)
	if a.isDevice() {
		m[metaRdev] = strconv.FormatUint(uint64(a.rdev), 16)
	}
	return m
}

// samePosix reports whether two objects have the same POSIX attributes.
func samePosix(a, b map[string]string) bool {
	for _, name := range [...]string{metaMode, metaUID, metaGID, metaMtime, metaCtime} {
		if a[name] != b[name] {
			return false
		}
	}
	return true
}

// parseMode reads st_mode as s3fs writes it, in decimal, or as rclone's
// metadata does, in octal and of files and directories alone. A decimal st_mode
// fits 16 bits and has a known file type, which an octal one that is read as
// decimal does not; directories' could be those of symlinks, but are known. The
// type that is returned is 0 for regular files.
func parseMode(s string, isDir bool) (typ, mode uint32, ok bool) {
	if m, err := strconv.ParseUint(s, 10, 16); err == nil {
		mode = uint32(m) & 07777
		switch typ = uint32(m) & syscall.S_IFMT; typ {
		case 0, syscall.S_IFDIR:
			return dirType(isDir), mode, true
		case syscall.S_IFREG:
			if !isDir {
				return 0, mode, true
			}
		case syscall.S_IFLNK, syscall.S_IFIFO, syscall.S_IFSOCK, syscall.S_IFCHR, syscall.S_IFBLK:
			if !isDir {
				return typ, mode, true
			}
		}
	}
	if m, err := strconv.ParseUint(s, 8, 16); err == nil {
		switch m & syscall.S_IFMT {
		case 0, syscall.S_IFREG, syscall.S_IFDIR, syscall.S_IFLNK:
			return dirType(isDir), uint32(m) & 07777, true
		}
	}
	return 0, 0, false
}

func dirType(isDir bool) uint32 {
	if isDir {
		return syscall.S_IFDIR
	}
	return 0
}

// parseTime reads seconds since 1970 with a fraction or without (s3fs, rclone),
// or RFC 3339 (rclone's metadata).
func parseTime(s string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		t, err := time.Parse(time.RFC3339Nano, s)
		return t, err == nil
	}
	if len(fraction) > 9 {
		fraction = fraction[:9]
	}
	nsec := int64(0)
	if fraction != "" {
		n, err := strconv.ParseUint(fraction+"000000000"[len(fraction):], 10, 32)
		if err != nil {
			return time.Time{}, false
		}
		nsec = int64(n)
	}
	if strings.HasPrefix(whole, "-") {
		nsec = -nsec
	}
	return time.Unix(sec, nsec), true
}

func formatTime(t time.Time) string {
	sec, nsec := t.Unix(), t.Nanosecond()
	if nsec == 0 {
		return strconv.FormatInt(sec, 10)
	}
	sign := ""
	if sec < 0 { // Unix rounds down, a decimal fraction counts from zero
		sec, nsec, sign = -sec-1, 1e9-nsec, "-"
	}
	return fmt.Sprintf("%s%d.%09d", sign, sec, nsec)
}

// fill writes a and size to what the kernel is told.
func (a attributes) fill(out *fuse.Attr, typ uint32, size int64) {
	out.Mode = a.typeOr(typ) | a.mode
	out.Rdev = a.rdev
	out.Size = uint64(size)
	out.Blocks = (out.Size + 511) / 512
	out.Blksize = blockSize
	out.Nlink = 1
	out.Owner = fuse.Owner{Uid: a.uid, Gid: a.gid}
	out.SetTimes(&a.mtime, &a.mtime, &a.ctime)
}
