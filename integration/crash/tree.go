package crash

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// label is the extended attribute that scenarios set.
const label = "user.label"

// An entry is what is under one name.
type entry struct {
	mode  fs.FileMode // with its type
	sum   string      // hash of the content, or the target of a symbolic link
	owner uint32
	mtime int64  // in seconds; 0 is any
	label string // value of the attribute
}

// A tree is what a directory holds, by path below it.
type tree map[string]entry

// regular is a file that nobody gave other attributes.
func regular(content body) entry { return entry{mode: 0o644, sum: digest(content())} }

// directory is one that nobody gave other attributes.
func directory() entry { return entry{mode: fs.ModeDir | 0o755} }

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// with returns a copy of t that has e under name.
func (t tree) with(name string, e entry) tree {
	t = maps.Clone(t)
	t[name] = e
	return t
}

// without returns a copy of t without the names.
func (t tree) without(names ...string) tree {
	t = maps.Clone(t)
	for _, name := range names {
		delete(t, name)
	}
	return t
}

// holds reports whether name is in got what it is in t.
func (t tree) holds(got tree, name string) bool {
	want, ok := t[name]
	e, there := got[name]
	if want.mtime == 0 {
		e.mtime = 0
	}
	return ok == there && e == want
}

// faults says what is wrong with got, if it was before and was to become after.
// Names change one by one unless the step is whole, but no content that is in
// both may be missing meanwhile.
func faults(got, before, after tree, whole bool) (all []string) {
	names := maps.Clone(got)
	maps.Copy(names, before)
	maps.Copy(names, after)
	old, done := true, true
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, is := before.holds(got, name), after.holds(got, name)
		old, done = old && was, done && is
		if !was && !is {
			all = append(all, fmt.Sprintf("%s is %+v; before it was %+v, and then %+v", name, got[name], before[name], after[name]))
		}
	}
	if whole && !old && !done {
		all = append(all, fmt.Sprintf("half done: %v", slices.Sorted(maps.Keys(got))))
	}
	sums := func(t tree) map[string]bool {
		set := map[string]bool{}
		for _, e := range t {
			set[e.sum] = true
		}
		return set
	}
	kept, there := sums(after), sums(got)
	for name, e := range before {
		if kept[e.sum] && !there[e.sum] {
			all = append(all, fmt.Sprintf("the content of %s is nowhere", name))
		}
	}
	return all
}

// readTree reads what is below dir.
func readTree(dir string) (tree, error) {
	t := tree{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil {
			t[name], err = readEntry(path)
		}
		return err
	})
	return t, err
}

func readEntry(path string) (entry, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return entry{}, err
	}
	e := entry{mode: info.Mode(), owner: info.Sys().(*syscall.Stat_t).Uid, mtime: info.ModTime().Unix()}
	switch info.Mode().Type() {
	case fs.ModeSymlink:
		e.sum, err = os.Readlink(path)
		return e, err
	case 0:
		content, err := os.ReadFile(path)
		if err != nil {
			return e, err
		}
		e.sum = digest(content)
	}
	var value [100]byte
	if n, err := syscall.Getxattr(path, label, value[:]); err == nil {
		e.label = string(value[:n])
	}
	return e, nil
}
