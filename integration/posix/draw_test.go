package posix

import (
	"slices"

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

// draw chooses what the step of a worker is done with.
type draw struct {
	t   *rapid.T
	p   *program
	who int
}

// drawn is a step and its kind.
type drawn struct {
	kind string
	entry
}

// step draws the next step of a program.
func step(p *program) *rapid.Generator[drawn] {
	return rapid.Custom(func(t *rapid.T) drawn {
		d := draw{t: t, p: p}
		if d.below("remount", 100) == 99 {
			return drawn{remount, entry{Op: op{Kind: remount}}}
		}
		d.who = d.below("worker", len(p.workers))
		k := p.kinds[d.below("kind", len(p.kinds))]
		return drawn{k.name, entry{d.who, k.draw(d)}}
	})
}

// uniform draws a number below n. What rapid draws itself prefers small ones.
func uniform(n int) *rapid.Generator[int] {
	return rapid.Custom(func(t *rapid.T) int {
		v := 0
		for bound := 1; bound < 8*n; bound *= 2 {
			v *= 2
			if rapid.Bool().Draw(t, "bit") {
				v++
			}
		}
		return v % n
	})
}

func (d draw) below(label string, n int) int { return uniform(n).Draw(d.t, label) }

func pick[T any](d draw, label string, of ...T) T { return of[d.below(label, len(of))] }

// paths are all that programs use. Few make it likely that steps meet.
var paths = []string{"a", "b", "c", "d", "e", "d/a", "d/b", "e/a", "d/e", "d/e/a", odd, "e/" + odd, "a/b"}

func (d draw) path(label string) string { return pick(d, label, paths...) }

// old draws a path where something is, mostly of one of the given types.
func (d draw) old(label string, types ...uint32) string {
	var there []string
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Lstat(d.p.side.path(path), &st); err == nil && slices.Contains(types, st.Mode&unix.S_IFMT) {
			there = append(there, path)
		}
	}
	if len(there) == 0 || d.below("any", 10) == 9 {
		return d.path(label)
	}
	return pick(d, label, there...)
}

// file draws the path of something that is no directory, thing of anything.
func (d draw) file(label string) string {
	return d.old(label, unix.S_IFREG, unix.S_IFREG, unix.S_IFLNK, unix.S_IFIFO)
}
func (d draw) thing(label string) string {
	return d.old(label, unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK, unix.S_IFIFO)
}
func (d draw) dir(label string) string { return d.old(label, unix.S_IFDIR) }

// newDir draws what may become the path of a directory.
func (d draw) newDir(label string) string { return pick(d, label, "d", "e", "d/e", "e/d", odd, "a") }

// slot draws one where a file is open, if there is one.
func (d draw) slot() int {
	var open []int
	for slot, is := range d.p.open[d.who] {
		if is {
			open = append(open, slot)
		}
	}
	if len(open) == 0 {
		return d.anySlot()
	}
	return pick(d, "slot", open...)
}

func (d draw) anySlot() int { return d.below("slot", slots) }

func (d draw) seed() uint64 { return uint64(1 + d.below("seed", 9)) }

func (d draw) mode() uint32 {
	return pick[uint32](d, "mode", 0o644, 0o666, 0o600, 0o664, 0o755, 0o775, 0o444, 0o000, 0o4755, 0o2775, 0o1777, 0o6711)
}

// length draws the size of a write or read: mostly small, often around the
// edges of pages, frames and requests, and rarely around those of parts.
func (d draw) length() int {
	if d.below("large", 64) == 63 {
		return pick(d, "length", 1<<20, 3<<20+1, 5<<20, 5<<20-1, 8<<20, 8<<20+1)
	}
	return pick(d, "length", 1, 0, 100, 4095, 4096, 4097, 65535, 65536, 65537, 131072, 200_000)
}

// offset draws a place in a file.
func (d draw) offset() int64 {
	if d.below("far", 48) == 47 {
		return pick[int64](d, "offset", 1<<20, 4<<20, 5<<20, 8<<20, 8<<20-1, 9<<20+4097)
	}
	return pick[int64](d, "offset", 0, 1, 50, 4095, 4096, 65535, 65536, 65537, 100_000, 300_000)
}

// opened is a step on an open file.
func opened(name string) kind {
	return kind{name, func(d draw) op { return op{Kind: name, Slot: d.slot()} }}
}

// opening is a step that opens a file with one of several flags.
func opening(name string, path func(draw, string) string, flags ...int) kind {
	return kind{name, func(d draw) op {
		return op{Kind: "open", Path: path(d, "path"), Slot: d.anySlot(), Flags: pick(d, "flags", flags...), Mode: d.mode()}
	}}
}

// named is a step on one path.
func named(name string, path func(draw, string) string) kind {
	return kind{name, func(d draw) op { return op{Kind: name, Path: path(d, "path"), Mode: d.mode()} }}
}

// two is a step on two paths.
func two(name, step string, from, to func(draw, string) string, flags int) kind {
	return kind{name, func(d draw) op {
		return op{Kind: step, Path: from(d, "path"), To: to(d, "to"), Flags: flags, Mode: 0o644}
	}}
}
