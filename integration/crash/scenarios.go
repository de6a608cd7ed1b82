package crash

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// A Scenario is a program whose mount dies, at each of its requests in turn.
type Scenario struct {
	Name string
	Core bool // one of the few that together send every kind of request

	flags []string             // of the mount
	there map[string]body      // objects that are there before; a name that ends in a slash is a directory
	steps func(w *work) []step // what the program does
}

// Sizes of contents: in one request, in parts, and what is changed in parts.
const (
	small = 10_000
	parts = 12 << 20
	large = 18 << 20
)

// inParts makes files of more than 5 MiB uploads of several parts.
func inParts() []string { return []string{"--part-size", "5MiB"} }

// Scenarios returns all scenarios.
func Scenarios() []Scenario {
	all := append(written(), changed()...)
	return append(append(all, renamed()...), removed()...)
}

// written are files that come to be or are replaced.
func written() []Scenario {
	a, b, c := bytesOf(1, small), bytesOf(2, small), bytesOf(3, parts)
	store := func(flag int, content body) func(w *work) []step {
		return func(w *work) []step {
			return []step{{do: w.open("f", os.O_WRONLY|flag)}, {do: w.write(content)}, {do: w.close, after: tree{"f": regular(content)}}}
		}
	}
	return []Scenario{
		{Name: "new file", Core: true, steps: store(os.O_CREATE, a)},
		{Name: "new file of several parts", Core: true, flags: inParts(), steps: store(os.O_CREATE, c)},
		{Name: "new file exactly once", flags: []string{"--strict-excl"}, steps: func(w *work) []step {
			return []step{
				{do: w.open("f", os.O_WRONLY|os.O_CREATE|os.O_EXCL), after: tree{"f": regular(nothing)}},
				{do: w.write(a)}, {do: w.close, after: tree{"f": regular(a)}},
			}
		}},
		{Name: "replaced", Core: true, there: map[string]body{"f": a}, steps: store(os.O_TRUNC, b)},
		{Name: "replaced by several parts", flags: inParts(), there: map[string]body{"f": bytesOf(4, 6<<20)}, steps: store(os.O_TRUNC, c)},
		{Name: "fsync again and again", steps: func(w *work) []step {
			return []step{
				{do: w.open("f", os.O_WRONLY|os.O_CREATE)},
				{do: w.write(a)}, {do: w.sync, after: tree{"f": regular(a)}},
				{do: w.write(b)}, {do: w.sync, after: tree{"f": regular(join(a, b))}},
				{do: w.write(a)}, {do: w.close, after: tree{"f": regular(join(a, b, a))}},
			}
		}},
	}
}

// A body is the content of a file, made when it is needed.
type body func() []byte

func bytesOf(seed uint64, n int) body {
	return sync.OnceValue(func() []byte { return harness.Random(seed, n) })
}

func nothing() []byte { return nil }

func join(all ...body) body {
	return func() (whole []byte) {
		for _, b := range all {
			whole = append(whole, b()...)
		}
		return whole
	}
}

// changed are files of which a part stays.
func changed() []Scenario {
	base, tail := bytesOf(5, large), bytesOf(6, small)
	six := bytesOf(4, 6<<20)
	patched := func() []byte {
		whole := join(base)()
		copy(whole[9<<20:], tail())
		return whole
	}
	cut := bytesOf(7, small)
	stamp := time.Unix(1_500_000_000, 0)
	return []Scenario{
		{Name: "append", Core: true, flags: inParts(), there: map[string]body{"f": six}, steps: func(w *work) []step {
			return []step{
				{do: w.open("f", os.O_WRONLY|os.O_APPEND)}, {do: w.write(tail)}, {do: w.close, after: tree{"f": regular(join(six, tail))}},
			}
		}},
		{Name: "change in the middle", Core: true, flags: inParts(), there: map[string]body{"f": base}, steps: func(w *work) []step {
			return []step{
				{do: w.open("f", os.O_RDWR)}, {do: w.writeAt(tail, 9<<20)},
				{do: w.sync, after: tree{"f": regular(patched)}}, {do: w.close},
			}
		}},
		{Name: "truncate", there: map[string]body{"f": join(cut, tail)}, steps: func(w *work) []step {
			return []step{{do: func() error { return os.Truncate(w.path("f"), small) }, after: tree{"f": regular(cut)}}}
		}},
		{Name: "attributes", Core: true, there: map[string]body{"f": tail}, steps: func(w *work) []step {
			f := regular(tail)
			f.mode, f.owner, f.mtime = 0o751, 1234, stamp.Unix()
			labelled := f
			labelled.label = "value"
			return []step{
				{do: w.change("f", func(path string) error {
					return errors.Join(os.Chmod(path, 0o751), os.Chown(path, 1234, 5678), os.Chtimes(path, stamp, stamp))
				}), after: tree{"f": f}},
				{do: w.change("f", func(path string) error { return syscall.Setxattr(path, label, []byte("value"), 0) }), after: tree{"f": labelled}},
			}
		}},
	}
}

// renamed are files and directories that get another name.
func renamed() []Scenario {
	a, b := bytesOf(8, small), bytesOf(9, small)
	d := tree{"d": directory(), "d/a": regular(a), "d/b": regular(b), "d/s": directory(), "d/s/c": regular(a), "d/s/e": regular(nothing)}
	moved := tree{}
	for name, e := range d {
		moved["n"+name[1:]] = e
	}
	inside := map[string]body{"d/": nothing, "d/a": a, "d/b": b, "d/s/": nothing, "d/s/c": a, "d/s/e": nothing}
	return []Scenario{
		{Name: "rename", Core: true, there: map[string]body{"f": a}, steps: func(w *work) []step {
			return []step{{do: w.rename("f", "g"), after: tree{"g": regular(a)}}}
		}},
		{Name: "rename over another", there: map[string]body{"f": a, "g": b}, steps: func(w *work) []step {
			return []step{{do: w.rename("f", "g"), after: tree{"g": regular(a)}}}
		}},
		{Name: "rename over one that is open", there: map[string]body{"f": a, "g": bytesOf(10, 1<<20)}, steps: func(w *work) []step {
			return []step{{do: w.open("g", os.O_RDONLY)}, {do: w.rename("f", "g"), after: tree{"g": regular(a)}}, {do: w.close}}
		}},
		{Name: "written, then renamed", there: map[string]body{"f": a}, steps: func(w *work) []step {
			return []step{
				{do: w.open("tmp", os.O_WRONLY|os.O_CREATE)}, {do: w.write(b)},
				{do: w.sync, after: tree{"f": regular(a), "tmp": regular(b)}}, {do: w.close},
				{do: w.rename("tmp", "f"), after: tree{"f": regular(b)}},
			}
		}},
		{Name: "rename of a directory", Core: true, there: inside, steps: func(w *work) []step {
			return []step{{do: w.rename("d", "n"), after: moved, whole: true}}
		}},
	}
}

// removed are files, directories and links that come and go.
func removed() []Scenario {
	a, big := bytesOf(11, small), bytesOf(12, 1<<20)
	return []Scenario{
		{Name: "unlink", there: map[string]body{"f": a}, steps: func(w *work) []step {
			return []step{{do: w.remove("f"), after: tree{}}}
		}},
		{Name: "unlink while open", Core: true, there: map[string]body{"f": big}, steps: func(w *work) []step {
			return []step{
				{do: w.open("f", os.O_RDONLY)}, {do: w.remove("f"), after: tree{}},
				{do: func() error {
					got := make([]byte, len(big()))
					if _, err := w.file.ReadAt(got, 0); err != nil {
						return err
					}
					if digest(got) != digest(big()) {
						return errors.New("an unlinked file changed")
					}
					return nil
				}},
				{do: w.close},
			}
		}},
		{Name: "mkdir and rmdir", Core: true, steps: func(w *work) []step {
			d := tree{"d": directory()}
			return []step{
				{do: func() error { return os.Mkdir(w.path("d"), 0o755) }, after: d},
				{do: func() error { return os.WriteFile(w.path("d/f"), a(), 0o644) }, after: d.with("d/f", regular(a))},
				{do: w.remove("d/f"), after: d},
				{do: w.remove("d"), after: tree{}},
			}
		}},
		{Name: "symlink", steps: func(w *work) []step {
			return []step{{do: func() error { return os.Symlink("nowhere/at all", w.path("l")) },
				after: tree{"l": {mode: fs.ModeSymlink | 0o777, sum: "nowhere/at all"}}}}
		}},
	}
}
