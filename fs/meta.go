package fs

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Names of POSIX attributes in user metadata, as s3fs writes them.
const (
	metaMode  = "mode"
	metaUID   = "uid"
	metaGID   = "gid"
	metaMtime = "mtime"
	metaCtime = "ctime"
)

// blockSize is st_blksize: what stdio takes as the size of its buffers, so
// large enough for the few requests that a write costs then.
const blockSize = 128 << 10

// attributes are what stat shows besides size and inode number.
type attributes struct {
	mode         uint32 // permission bits with suid, sgid and sticky
	uid, gid     uint32
	mtime, ctime time.Time
}

// attributesOf reads user metadata over the defaults. What cannot be
// understood is as if it were absent.
func attributesOf(meta map[string]string, a attributes) attributes {
	if m, ok := parseMode(meta[metaMode]); ok {
		a.mode = m
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

// meta returns the metadata to store: the foreign part of old, and a with the
// file type typ (S_IFREG or S_IFDIR).
func (a attributes) meta(old map[string]string, typ uint32) map[string]string {
	m := maps.Clone(old)
	if m == nil {
		m = make(map[string]string, 5)
	}
	m[metaMode] = strconv.FormatUint(uint64(a.mode|typ), 10)
	m[metaUID] = strconv.FormatUint(uint64(a.uid), 10)
	m[metaGID] = strconv.FormatUint(uint64(a.gid), 10)
	m[metaMtime] = formatTime(a.mtime)
	m[metaCtime] = formatTime(a.ctime)
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
// metadata does, in octal. A decimal st_mode fits 16 bits and has a known file
// type, which an octal one that is read as decimal does not.
func parseMode(s string) (uint32, bool) {
	for _, base := range []int{10, 8} {
		m, err := strconv.ParseUint(s, base, 32)
		if err != nil || m > math.MaxUint16 {
			continue
		}
		switch m & syscall.S_IFMT {
		case syscall.S_IFREG, syscall.S_IFDIR, syscall.S_IFLNK, syscall.S_IFIFO, 0:
			return uint32(m) & 07777, true
		}
	}
	return 0, false
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
	out.Mode = typ | a.mode
	out.Size = uint64(size)
	out.Blocks = (out.Size + 511) / 512
	out.Blksize = blockSize
	out.Nlink = 1
	out.Owner = fuse.Owner{Uid: a.uid, Gid: a.gid}
	out.SetTimes(&a.mtime, &a.mtime, &a.ctime)
}
