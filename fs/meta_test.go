package fs

import (
	"math"
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
		typ := rapid.SampledFrom([]uint32{syscall.S_IFREG, syscall.S_IFDIR}).Draw(t, "type")
		m := a.meta(map[string]string{"foreign": "x", "mode": "old"}, typ)
		if m["foreign"] != "x" {
			t.Fatalf("foreign metadata lost: %v", m)
		}
		if got := attributesOf(m, attributes{}); !cmp.Equal(got, a, cmp.AllowUnexported(attributes{})) {
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
		{"nonsense", map[string]string{"mode": "rwx", "uid": "-1", "gid": "99999999999", "mtime": "yesterday", "ctime": "1.x"}, attributes{}},
	} {
		got := attributesOf(c.meta, attributes{})
		if got.mode != c.want.mode || got.uid != c.want.uid || got.gid != c.want.gid || !got.mtime.Equal(c.want.mtime) || !got.ctime.Equal(c.want.ctime) {
			t.Errorf("%s: %v is %+v, want %+v", c.name, c.meta, got, c.want)
		}
	}
	if _, ok := parseTime("-0.5"); !ok {
		t.Error("times before 1970 are refused")
	}
	if _, ok := parseMode("4294967295"); ok || math.MaxUint16 == 0 {
		t.Error("a mode of 32 bits is taken")
	}
}
