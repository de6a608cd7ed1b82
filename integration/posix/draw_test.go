package posix

import (
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// slots is how many files each worker may have open.
const slots = 3

// kind draws one kind of step.
type kind struct {
	name string
	draw func(d draw) op
}

// draw chooses what a step is done with.
type draw struct{ t *rapid.T }

func pick[T any](d draw, label string, of ...T) T { return rapid.SampledFrom(of).Draw(d.t, label) }

// path draws a path. Few names make it likely that steps meet.
func (d draw) path(label string) string {
	return pick(d, label, "a", "b", "c", "d", "d/a", "d/b", "e", "e/a", "d/e", "d/e/a", "o", "e/o", "a/b")
}

func (d draw) dir(label string) string { return pick(d, label, "d", "e", "d/e", "e/d", "o", "a") }

func (d draw) slot() int { return rapid.IntRange(0, slots-1).Draw(d.t, "slot") }

func (d draw) seed() uint64 { return uint64(rapid.IntRange(1, 9).Draw(d.t, "seed")) }

func (d draw) mode() uint32 {
	return pick[uint32](d, "mode", 0o644, 0o600, 0o755, 0o000, 0o4755, 0o2775, 0o1777, 0o6711)
}

// length draws the size of a write or read: mostly small, sometimes around the
// edges of pages, frames and requests, and rarely around those of parts.
func (d draw) length() int {
	if rapid.IntRange(0, 99).Draw(d.t, "large") > 96 {
		return pick(d, "length", 1<<20, 3<<20+1, 5<<20, 5<<20-1, 8<<20, 8<<20+1)
	}
	return pick(d, "length", 1, 0, 100, 4095, 4096, 4097, 65535, 65536, 65537, 131072, 200_000)
}

// offset draws a place in a file.
func (d draw) offset() int64 {
	if rapid.IntRange(0, 99).Draw(d.t, "far") > 96 {
		return pick[int64](d, "offset", 1<<20, 4<<20, 5<<20, 8<<20, 8<<20-1, 9<<20+4097)
	}
	return pick[int64](d, "offset", 0, 1, 50, 4095, 4096, 65535, 65536, 65537, 100_000, 300_000)
}

// file is a step on an open file.
func file(name string) kind {
	return kind{name, func(d draw) op { return op{Kind: name, Slot: d.slot()} }}
}

// named is a step on a path.
func named(name string) kind {
	return kind{name, func(d draw) op { return op{Kind: name, Path: d.path("path")} }}
}

// opening is a step that opens a file with one of several flags.
func opening(name string, flags ...int) kind {
	return kind{name, func(d draw) op {
		return op{Kind: "open", Path: d.path("path"), Slot: d.slot(), Flags: pick(d, "flags", flags...), Mode: d.mode()}
	}}
}

// two is a step on two paths.
func two(name, step string, flags int) kind {
	return kind{name, func(d draw) op {
		return op{Kind: step, Path: d.path("path"), To: d.path("to"), Flags: flags, Mode: 0o644}
	}}
}

// kinds are what programs consist of.
func kinds() []kind {
	return append(writingAnywhere(), []kind{
		opening("create", unix.O_CREAT|unix.O_RDWR, unix.O_CREAT|unix.O_WRONLY),
		opening("open", unix.O_RDONLY, unix.O_RDWR, unix.O_WRONLY, unix.O_RDWR|unix.O_NOFOLLOW, unix.O_RDONLY|unix.O_DIRECTORY),
		opening("open to cut", unix.O_TRUNC|unix.O_RDWR, unix.O_TRUNC|unix.O_CREAT|unix.O_WRONLY, unix.O_TRUNC|unix.O_RDONLY),
		opening("open exclusively", unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY),
		opening("open to append", unix.O_APPEND|unix.O_CREAT|unix.O_WRONLY, unix.O_APPEND|unix.O_CREAT|unix.O_RDWR),
		{"open without a name", func(d draw) op {
			return op{Kind: "open", Path: d.dir("path"), Slot: d.slot(), Flags: unix.O_TMPFILE | unix.O_RDWR, Mode: 0o600}
		}},
		file("close"), file("dup close"), file("fsync"), file("fstat"),
		{"write", func(d draw) op { return op{Kind: "write", Slot: d.slot(), Len: d.length(), Seed: d.seed()} }},
		{"write end", func(d draw) op { return op{Kind: "write end", Slot: d.slot(), Len: d.length(), Seed: d.seed()} }},
		{"read", func(d draw) op { return op{Kind: "read", Slot: d.slot(), Len: d.length()} }},
		{"pread", func(d draw) op { return op{Kind: "pread", Slot: d.slot(), Len: d.length(), Off: d.offset()} }},
		{"fchmod", func(d draw) op { return op{Kind: "fchmod", Slot: d.slot(), Mode: d.mode()} }},
		{"mkdir", func(d draw) op { return op{Kind: "mkdir", Path: d.dir("path"), Mode: d.mode()} }},
		{"rmdir", func(d draw) op { return op{Kind: "rmdir", Path: d.dir("path")} }},
		{"list", func(d draw) op { return op{Kind: "list", Path: d.dir("path")} }},
		{"mkfifo", func(d draw) op { return op{Kind: "mkfifo", Path: d.path("path"), Mode: d.mode()} }},
		{"symlink", func(d draw) op {
			return op{Kind: "symlink", Path: d.path("path"), To: pick(d, "target", "a", "b", "d", "d/a", "a/b", "nowhere")}
		}},
		named("unlink"), named("stat"), named("readlink"), named("fsync dir"),
		two("rename", "rename", 0), two("rename noreplace", "rename", unix.RENAME_NOREPLACE),
		{"rename dir", func(d draw) op { return op{Kind: "rename", Path: d.dir("path"), To: d.dir("to")} }},
		two("copy", "copy", 0), two("copy range", "copy range", 0), two("link", "link", 0),
		{"chmod", func(d draw) op { return op{Kind: "chmod", Path: d.path("path"), Mode: d.mode()} }},
		{"chown", func(d draw) op {
			return op{Kind: "chown", Path: d.path("path"), UID: pick(d, "uid", 0, 1000, -1), GID: pick(d, "gid", 0, 1000, -1)}
		}},
		{"utimens", func(d draw) op {
			return op{Kind: "utimens", Path: d.path("path"), Sec: pick[int64](d, "sec", 1_000_000_000, 1_200_000_000, 0, -5),
				Nsec: pick[int64](d, "nsec", 0, 1, 123_456_789, 999_999_999, unix.UTIME_NOW, unix.UTIME_OMIT)}
		}},
		{"setxattr", func(d draw) op {
			return op{Kind: "setxattr", Path: d.path("path"), Name: d.xattr(), Len: pick(d, "length", 3, 0, 100), Seed: d.seed(),
				Flags: pick(d, "flags", 0, unix.XATTR_CREATE, unix.XATTR_REPLACE)}
		}},
		{"getxattr", func(d draw) op { return op{Kind: "getxattr", Path: d.path("path"), Name: d.xattr()} }},
		{"rmxattr", func(d draw) op { return op{Kind: "rmxattr", Path: d.path("path"), Name: d.xattr()} }},
	}...)
}

func (d draw) xattr() string {
	return pick(d, "name", "user.a", "user.Ünï", "user.long.name.of.an.attribute")
}

// writingAnywhere are the steps that change content elsewhere than at its end.
func writingAnywhere() []kind {
	return []kind{
		{"pwrite", func(d draw) op {
			return op{Kind: "pwrite", Slot: d.slot(), Len: d.length(), Off: d.offset(), Seed: d.seed()}
		}},
		{"write far away", func(d draw) op {
			return op{Kind: "pwrite", Slot: d.slot(), Len: pick(d, "length", 1, 100, 65536), Seed: d.seed(),
				Off: pick[int64](d, "offset", 500_000, 1<<20, 5<<20, 12<<20)}
		}},
		{"truncate", func(d draw) op { return op{Kind: "truncate", Path: d.path("path"), Off: d.offset()} }},
		{"ftruncate", func(d draw) op { return op{Kind: "ftruncate", Slot: d.slot(), Off: d.offset()} }},
		{"fallocate", func(d draw) op {
			return op{Kind: "fallocate", Slot: d.slot(), Off: d.offset(), Len: d.length(), Mode: pick[uint32](d, "mode", 0,
				unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE,
				unix.FALLOC_FL_ZERO_RANGE, unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE)}
		}},
		{"map write", func(d draw) op {
			return op{Kind: "map write", Slot: d.slot(), Off: d.offset(), Len: d.length(), Seed: d.seed()}
		}},
		{"seek data", func(d draw) op { return op{Kind: "seek data", Slot: d.slot(), Off: d.offset()} }},
	}
}
