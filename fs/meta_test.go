package fs

import (
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAttributesSurviveMetadata(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := attributes{
			mode:  rapid.Uint32Range(0, 07777).Draw(t, "mode"),
			uid:   rapid.Uint32().Draw(t, "uid"),
			gid:   rapid.Uint32().Draw(t, "gid"),
			mtime: time.Unix(rapid.Int64Range(-1<<35, 1<<35).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")),
			ctime: time.Unix(rapid.Int64Range(-9, 9).Draw(t, "cs"), rapid.Int64Range(0, 999_999_999).Draw(t, "cns")),
		}
		a.typ = rapid.SampledFrom([]uint32{0, syscall.S_IFDIR, syscall.S_IFLNK, syscall.S_IFIFO, syscall.S_IFSOCK, syscall.S_IFCHR, syscall.S_IFBLK}).Draw(t, "type")
		if a.isDevice() {
			a.rdev = rapid.Uint32().Draw(t, "rdev")
		}
		m := a.meta(map[string]string{"foreign": "x", "mode": "old"}, syscall.S_IFREG)
		if m["foreign"] != "x" {
			t.Fatalf("foreign metadata lost: %v", m)
		}
		var known attributes // of a directory, by its key
		if a.typ == syscall.S_IFDIR {
			known.typ = a.typ
		}
		if got := attributesOf(m, known); !cmp.Equal(got, a, cmp.AllowUnexported(attributes{})) {
			t.Fatalf("wrote %v, read %+v, want %+v", m, got, a)
		}
	})
}

func TestAttributesOfOtherTools(t *testing.T) {
	day := time.Unix(1700000000, 0)
	for _, c := range []struct {
		name string
		meta map[string]string
		want attributes
	}{
		{"s3fs", map[string]string{"mode": "33188", "uid": "1000", "gid": "100", "mtime": "1700000000", "ctime": "1700000001"},
			attributes{mode: 0644, uid: 1000, gid: 100, mtime: day, ctime: day.Add(time.Second)}},
		{"s3fs with nanoseconds", map[string]string{"mtime": "1700000000.000000005"},
			attributes{mtime: day.Add(5), ctime: day.Add(5)}},
		{"rclone", map[string]string{"mtime": "1700000000.25"},
			attributes{mtime: day.Add(250 * time.Millisecond), ctime: day.Add(250 * time.Millisecond)}},
		{"rclone -M", map[string]string{"mode": "100755", "mtime": "2023-11-14T22:13:20Z"},
			attributes{mode: 0755, mtime: day, ctime: day}},
		{"rclone -M directory", map[string]string{"mode": "40755"}, attributes{mode: 0755}},
		{"s3fs FIFO", map[string]string{"mode": "4512"}, attributes{typ: syscall.S_IFIFO, mode: 0640}},
		{"s3fs socket", map[string]string{"mode": "49645"}, attributes{typ: syscall.S_IFSOCK, mode: 0755}},
		{"s3fs symlink", map[string]string{"mode": "41471"}, attributes{typ: syscall.S_IFLNK, mode: 0777}},
		{"s3fs device", map[string]string{"mode": "24996"}, attributes{typ: syscall.S_IFBLK, mode: 0644}},
		{"device", map[string]string{"mode": "8576", "rdev": "80a1"}, attributes{typ: syscall.S_IFCHR, mode: 0600, rdev: 0x80a1}},
		{"file with a device number", map[string]string{"mode": "33188", "rdev": "0"}, attributes{mode: 0644}},
		{"nonsense", map[string]string{"mode": "rwx", "uid": "-1", "gid": "99999999999", "mtime": "yesterday", "ctime": "1.x"}, attributes{}},
	} {
		got := attributesOf(c.meta, attributes{})
		if got.typ != c.want.typ || got.rdev != c.want.rdev || got.mode != c.want.mode || got.uid != c.want.uid || got.gid != c.want.gid || !got.mtime.Equal(c.want.mtime) || !got.ctime.Equal(c.want.ctime) {
			t.Errorf("%s: %v is %+v, want %+v", c.name, c.meta, got, c.want)
		}
	}
	if _, ok := parseTime("-0.5"); !ok {
		t.Error("times before 1970 are refused")
	}
	if _, _, ok := parseMode("4294967295", false); ok {
		t.Error("a mode of 32 bits is taken")
	}
}

func TestModesOfDirectories(t *testing.T) {
	for mode, want := range map[string]uint32{"18429": 03775, "16877": 0755, "41777": 01777, "42755": 02755, "40755": 0755, "41471": 01471, "0": 0} {
		got := attributesOf(map[string]string{"mode": mode}, attributes{typ: syscall.S_IFDIR})
		if got.typ != syscall.S_IFDIR || got.mode != want {
			t.Errorf("mode %s of a directory is %o with type %o, want %o", mode, got.mode, got.typ, want)
		}
	}
}

// A FIFO with content or a symlink without would hide it.
func TestWhatDoesNotFitItsModeIsARegularFile(t *testing.T) {
	for _, c := range []struct {
		typ  uint32
		size int64
		fits bool
	}{
		{syscall.S_IFLNK, 0, false}, {syscall.S_IFLNK, 1, true}, {syscall.S_IFLNK, targetMax, true}, {syscall.S_IFLNK, targetMax + 1, false},
		{syscall.S_IFIFO, 0, true}, {syscall.S_IFIFO, 1, false}, {syscall.S_IFBLK, 0, true}, {syscall.S_IFBLK, 512, false},
	} {
		if got := (attributes{typ: c.typ, rdev: 1}).fitting(c.size); (got.typ == c.typ) != c.fits || (got.rdev == 1) != c.fits {
			t.Errorf("type %o with %d bytes is %+v", c.typ, c.size, got)
		}
	}
}
