package faults

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Operations are the rows of the table's first part, but for mount and umount,
// which the runner does itself.
func Operations() []Operation {
	all := []Operation{{Name: mounting}, {Name: unmounting}}
	all = slices.Concat(all, reading(), writing(), attributes(), naming())
	for i := range all {
		if all[i].open == nil {
			all[i].open = nothing
		}
	}
	return all
}

// What the runner does itself.
const (
	mounting   = "mount"
	unmounting = "umount"
)

// reading are the operations that change nothing.
func reading() []Operation {
	putSome := func(s *site) error { return s.put("file", medium) }
	same := func(s *site, _ bool) error { return s.holds("file", medium) }
	return []Operation{
		{Name: "stat", before: putSome, after: same, act: func(s *site) error {
			info, err := os.Lstat(s.path("file"))
			if err == nil && info.Size() != int64(len(medium)) {
				err = fmt.Errorf("size %d", info.Size())
			}
			return err
		}},
		{Name: "readdir", before: putSome, after: same, act: func(s *site) error {
			entries, err := os.ReadDir(s.dir)
			if err == nil && (len(entries) != 1 || entries[0].Name() != "file") {
				err = fmt.Errorf("names %v", entries)
			}
			return err
		}},
		{Name: "read in order", after: same, before: putSome, act: func(s *site) error { return s.holds("file", medium) }},
		{Name: "read anywhere", after: same, before: putSome, open: opens("file", os.O_RDONLY), act: func(s *site) error {
			return s.finish(func(f *os.File) error {
				for _, off := range []int64{500_000, 100, 300_000} {
					got := make([]byte, 1000)
					if _, err := f.ReadAt(got, off); err != nil {
						return err
					}
					if !bytes.Equal(got, medium[off:][:1000]) {
						return errWrong
					}
				}
				return nil
			})
		}},
		{Name: "readlink", before: func(s *site) error { return os.Symlink(target, s.path("link")) },
			act: func(s *site) error { return s.pointsTo("link") }, after: func(s *site, _ bool) error { return s.pointsTo("link") }},
	}
}

// target is longer than the headers of what is sealed.
var target = strings.Repeat("target/", 300)

// errWrong is what no program may ever see.
var errWrong = errors.New("wrong bytes")

func (s *site) pointsTo(name string) error {
	to, err := os.Readlink(s.path(name))
	if err == nil && to != target {
		err = fmt.Errorf("%w: it points to %q", errWrong, to)
	}
	return err
}

// writing are the operations that end in a commit of content.
func writing() []Operation {
	const created = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	whole := func(b []byte) func(f *os.File) error {
		return func(f *os.File) error { _, err := f.Write(b); return err }
	}
	patched := slices.Clone(large)
	copy(patched[15<<20:], small)
	return []Operation{
		wrote("create small", nil, created, whole(small), small),
		wrote("create large", nil, created, whole(parted), parted),
		wrote("overwrite", small, os.O_WRONLY, func(f *os.File) error {
			return errors.Join(f.Truncate(0), whole(newer)(f))
		}, newer),
		wrote("append", large, os.O_WRONLY|os.O_APPEND, whole(small), slices.Concat(large, small)),
		wrote("patch", large, os.O_WRONLY, func(f *os.File) error { _, err := f.WriteAt(small, 15<<20); return err }, patched),
		wrote("truncate", newer, os.O_WRONLY, func(f *os.File) error { return f.Truncate(10_000) }, newer[:10_000]),
	}
}

// attributes are the operations that end in a copy in place.
func attributes() []Operation {
	const attribute = "user.fault"
	one := func(name string, change func(s *site, f *os.File) error, is func(s *site) error) Operation {
		return Operation{Name: name,
			before: func(s *site) error { return s.put("file", small) },
			open:   opens("file", os.O_RDONLY),
			act: func(s *site) error {
				return s.finish(func(f *os.File) error { return errors.Join(change(s, f), f.Sync()) })
			},
			after: func(s *site, done bool) error {
				err := s.holds("file", small)
				if done {
					err = errors.Join(err, is(s))
				}
				return err
			}}
	}
	return []Operation{
		one("chmod", func(_ *site, f *os.File) error { return f.Chmod(0o600) }, func(s *site) error {
			info, err := os.Stat(s.path("file"))
			if err == nil && info.Mode() != 0o600 {
				err = fmt.Errorf("mode %v", info.Mode())
			}
			return err
		}),
		one("setxattr", func(_ *site, f *os.File) error {
			return unix.Fsetxattr(int(f.Fd()), attribute, []byte("value"), 0)
		}, func(s *site) error {
			got := make([]byte, 100)
			n, err := unix.Getxattr(s.path("file"), attribute, got)
			if err == nil && string(got[:n]) != "value" {
				err = fmt.Errorf("value %q", got[:n])
			}
			return err
		}),
	}
}

// naming are the operations on names.
func naming() []Operation {
	within := func(s *site) error { return errors.Join(os.Mkdir(s.path("old"), 0o755), s.put("old/file", small)) }
	return []Operation{
		{Name: "rename", before: func(s *site) error { return s.put("old", small) },
			act:   func(s *site) error { return os.Rename(s.path("old"), s.path("new")) },
			after: func(s *site, done bool) error { return s.moved("old", "new", done) }},
		{Name: "rename directory", before: within,
			act:   func(s *site) error { return os.Rename(s.path("old"), s.path("new")) },
			after: func(s *site, done bool) error { return s.moved("old/file", "new/file", done) }},
		{Name: "unlink", before: func(s *site) error { return s.put("file", small) },
			act:   func(s *site) error { return unix.Unlink(s.path("file")) },
			after: func(s *site, done bool) error { return s.holds("file", eitherOf(done, nil, small)...) }},
		makes("mkdir", func(s *site) error { return os.Mkdir(s.path("new"), 0o755) }, func(s *site) error {
			info, err := os.Lstat(s.path("new"))
			if err == nil && !info.IsDir() {
				err = fmt.Errorf("it is %v", info.Mode())
			}
			return err
		}),
		{Name: "rmdir", before: func(s *site) error { return os.Mkdir(s.path("old"), 0o755) },
			act: func(s *site) error { return unix.Rmdir(s.path("old")) },
			after: func(s *site, done bool) error {
				if _, err := os.Lstat(s.path("old")); done && !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("it is still there: %v", err)
				}
				return nil
			}},
		makes("symlink", func(s *site) error { return os.Symlink(target, s.path("new")) },
			func(s *site) error { return s.pointsTo("new") }),
	}
}

// moved wants the small content under the new name alone, or if the operation
// did not succeed under the old one, or both.
func (s *site) moved(from, to string, done bool) error {
	if done {
		return errors.Join(s.holds(from, nil), s.holds(to, small))
	}
	err := errors.Join(s.holds(from, nil, small), s.holds(to, nil, small))
	if s.holds(from, nil) == nil && s.holds(to, nil) == nil {
		err = errors.Join(err, errors.New(strings.Join([]string{from, to}, " and ")+" are gone"))
	}
	return err
}
