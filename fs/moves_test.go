//go:build linux

package fs

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// family is a tree of nodes without a mount: /a/b/c is a file, /x a directory.
type family struct {
	tree       sync.RWMutex
	m          *moves
	root, a, b *dir
	x          *dir
	c          *file
}

func newFamily() *family {
	f := &family{}
	f.m = newMoves(&f.tree)
	under := func(up *dir, name string) *dir { return &dir{link: link{up: up, name: name}} }
	f.root = under(nil, "")
	f.a, f.x = under(f.root, "a"), under(f.root, "x")
	f.b = under(f.a, "b")
	f.c = &file{link: link{up: f.b, name: "c"}}
	return f
}

// What is below a renamed directory, below what it replaces or below its new
// name waits; all else goes on.
func TestARenameExcludesWhatItMoves(t *testing.T) {
	f := newFamily()
	shadow := &dir{link: link{up: f.x, name: "new"}}
	other := &dir{link: link{up: f.x, name: "other"}}
	over := &dir{link: link{up: f.root, name: "over"}}
	unlock, err := f.m.lock(t.Context(), scope{d: f.a, over: over, to: place{f.x, "new"}})
	check(t, err)
	for name, c := range map[string]struct {
		waits bool
		u     use
	}{
		"the directory":                    {true, use{at: []node{f.a}}},
		"a file below":                     {true, use{at: []node{f.c}}},
		"one of two":                       {true, use{at: []node{f.x, f.c}}},
		"below the new name":               {true, use{at: []node{&file{link: link{up: shadow, name: "c"}}}}},
		"below what is replaced":           {true, use{at: []node{&file{link: link{up: over, name: "c"}}}}},
		"the removal of where it goes":     {true, use{at: []node{f.x}, removes: f.x}},
		"where it goes":                    {false, use{at: []node{f.x}}},
		"the root":                         {false, use{at: []node{f.root}}},
		"a file elsewhere":                 {false, use{at: []node{&file{link: link{up: f.x, name: "c"}}}}},
		"the removal of another directory": {false, use{at: []node{other}, removes: other}},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errDone) // whoever would have to wait is told at once
		c.u.m = f.m
		u, err := f.m.begin(ctx, &c.u)
		if waits := errors.Is(err, errDone); waits != c.waits {
			t.Errorf("%s waits: %v, want %v", name, waits, c.waits)
		}
		if err == nil {
			u.end()
		}
	}
	unlock()
	u, err := f.m.share(t.Context(), f.c)
	check(t, err)
	u.end()
}

var errDone = errors.New("done waiting")

// A rename waits for what is under way below, and for another rename; new uses
// wait for it meanwhile, so that it comes to its turn.
func TestARenameWaitsForItsTurn(t *testing.T) {
	f := newFamily()
	u, err := f.m.share(t.Context(), f.c)
	check(t, err)
	s := scope{d: f.b, to: place{f.x, "b"}}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errDone)
	if _, err := f.m.lock(ctx, s); !errors.Is(err, errDone) {
		t.Errorf("it does not wait for a use: %v", err)
	}
	type result struct {
		unlock func()
		err    error
	}
	locked := make(chan result)
	go func() {
		unlock, err := f.m.lock(t.Context(), s)
		locked <- result{unlock, err}
	}()
	waitFor(t, "the rename to wait", func() bool {
		f.m.mu.Lock()
		defer f.m.mu.Unlock()
		return f.m.scope != nil
	})
	if _, err := f.m.share(ctx, f.c); !errors.Is(err, errDone) {
		t.Errorf("a new use overtakes: %v", err)
	}
	u.end()
	first := <-locked
	check(t, first.err)
	if _, err := f.m.lock(ctx, scope{d: f.x, to: place{f.root, "y"}}); !errors.Is(err, errDone) {
		t.Errorf("two renames at a time: %v", err)
	}
	first.unlock()
	f.m.unsettled = []*transfer{{}}
	unlock, err := f.m.lock(t.Context(), scope{d: f.x, to: place{f.root, "y"}})
	check(t, err)
	if _, err := f.m.share(ctx, f.c); !errors.Is(err, errDone) {
		t.Errorf("what an earlier rename left half-way excludes nothing: %v", err)
	}
	unlock()
}
