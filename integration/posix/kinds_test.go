package posix

import "golang.org/x/sys/unix"

// kinds are what programs consist of.
func kinds() []kind {
	any, file, thing, dir, newDir := draw.path, draw.file, draw.thing, draw.dir, draw.newDir
	all := []kind{
		opening("create", any, unix.O_CREAT|unix.O_RDWR, unix.O_CREAT|unix.O_WRONLY),
		opening("create again", any, unix.O_CREAT|unix.O_RDWR),
		opening("open", file, unix.O_RDWR, unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR|unix.O_NOFOLLOW),
		opening("open to change", file, unix.O_RDWR),
		opening("open a directory", dir, unix.O_RDONLY, unix.O_RDONLY|unix.O_DIRECTORY),
		opening("open to cut", file, unix.O_TRUNC|unix.O_RDWR, unix.O_TRUNC|unix.O_CREAT|unix.O_WRONLY, unix.O_TRUNC|unix.O_RDONLY),
		opening("open exclusively", any, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY),
		opening("open to append", any, unix.O_APPEND|unix.O_CREAT|unix.O_WRONLY, unix.O_APPEND|unix.O_CREAT|unix.O_RDWR),
		opening("open without a name", dir, unix.O_TMPFILE|unix.O_RDWR, unix.O_TMPFILE|unix.O_WRONLY),
		opened("close"), opened("dup close"), opened("fsync"), opened("fstat"),
		named("mkdir", newDir), named("rmdir", dir), named("list", dir), named("unlink", file), named("stat", thing),
		named("readlink", file), named("fsync dir", thing), named("mkfifo", any), named("chmod", thing),
		two("rename", "rename", file, any, 0), two("rename over", "rename", file, file, 0),
		two("rename noreplace", "rename", thing, any, unix.RENAME_NOREPLACE),
		two("rename dir", "rename", dir, newDir, 0), two("rename anything", "rename", thing, thing, 0),
		two("copy", "copy", file, any, 0), two("copy range", "copy range", file, any, 0), two("link", "link", file, any, 0),
		{"symlink", func(d draw) op {
			return op{Kind: "symlink", Path: d.path("path"), To: pick(d, "target", "a", "b", "d", "d/a", "a/b", "nowhere")}
		}},
		{"fchmod", func(d draw) op { return op{Kind: "fchmod", Slot: d.slot(), Mode: d.mode()} }},
		{"chown", func(d draw) op {
			return op{Kind: "chown", Path: d.thing("path"), UID: pick(d, "uid", 0, 1000, -1), GID: pick(d, "gid", 0, 1000, -1)}
		}},
		{"utimens", func(d draw) op {
			return op{Kind: "utimens", Path: d.thing("path"), Sec: pick[int64](d, "sec", 1_000_000_000, 1_200_000_000, 0, -5),
				Nsec: pick[int64](d, "nsec", 0, 1, 123_456_789, 999_999_999, unix.UTIME_NOW, unix.UTIME_OMIT)}
		}},
		{"setxattr", func(d draw) op {
			return op{Kind: "setxattr", Path: d.thing("path"), Name: d.xattr(), Len: pick(d, "length", 3, 0, 100), Seed: d.seed(),
				Flags: pick(d, "flags", 0, unix.XATTR_CREATE, unix.XATTR_REPLACE)}
		}},
		{"getxattr", func(d draw) op { return op{Kind: "getxattr", Path: d.thing("path"), Name: d.xattr()} }},
		{"rmxattr", func(d draw) op { return op{Kind: "rmxattr", Path: d.thing("path"), Name: d.xattr()} }},
	}
	return append(all, contentKinds()...)
}

func (d draw) xattr() string {
	return pick(d, "name", "user.a", "user.Ünï", "user.long.name.of.an.attribute")
}

// contentKinds are the steps that read and change content.
func contentKinds() []kind {
	return []kind{
		{"write", func(d draw) op { return op{Kind: "write", Slot: d.slot(), Len: d.length(), Seed: d.seed()} }},
		{"write end", func(d draw) op { return op{Kind: "write end", Slot: d.slot(), Len: d.length(), Seed: d.seed()} }},
		{"read", func(d draw) op { return op{Kind: "read", Slot: d.slot(), Len: d.length()} }},
		{"pread", func(d draw) op { return op{Kind: "pread", Slot: d.slot(), Len: d.length(), Off: d.offset()} }},
		{"pwrite", func(d draw) op {
			return op{Kind: "pwrite", Slot: d.slot(), Len: d.length(), Off: d.offset(), Seed: d.seed()}
		}},
		{"write far away", func(d draw) op {
			return op{Kind: "pwrite", Slot: d.slot(), Len: pick(d, "length", 1, 100, 65536), Seed: d.seed(),
				Off: pick[int64](d, "offset", 500_000, 1<<20, 5<<20, 12<<20)}
		}},
		{"truncate", func(d draw) op { return op{Kind: "truncate", Path: d.file("path"), Off: d.offset()} }},
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
