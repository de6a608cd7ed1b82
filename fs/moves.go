package fs

import (
	"context"
	"slices"
	"sync"
)

// moves lets the rename of a directory exclude whatever uses keys below it or
// below its new name. One directory is renamed at a time; what is elsewhere goes
// on meanwhile. Locks may be held over I/O, because waits end with a context.
type moves struct {
	one  gate // held by the rename, and by those that wait to be the next
	tree *sync.RWMutex

	unsettled []*transfer // renames that failed half-way; guarded by one

	mu      sync.Mutex    // guards the fields below; FS.tree may be locked under it
	uses    map[*use]bool // under way
	scope   *scope        // of the rename that runs or waits for uses; nil if there is none
	changed chan struct{} // closed when a use or the rename ends; nil if nobody waits
}

// use is an operation that relies on the keys of some nodes.
type use struct {
	m       *moves
	at      []node
	removes *dir // nothing may be renamed into it either
}

// scope is what a rename of a directory excludes.
type scope struct {
	d, over *dir // over is nil where there is nothing
	to      place
	all     bool // everything, because what an earlier rename left half-way comes first
}

func newMoves(tree *sync.RWMutex) *moves {
	return &moves{one: newGate(), tree: tree, uses: make(map[*use]bool)}
}

// share begins an operation that uses the keys of the nodes; the use is to be ended.
// Who has one must not ask for another: a rename may wait in between.
func (m *moves) share(ctx context.Context, at ...node) (*use, error) {
	return m.begin(ctx, &use{m: m, at: at})
}

// shareToRemove is share for the removal of a directory.
func (m *moves) shareToRemove(ctx context.Context, d *dir) (*use, error) {
	return m.begin(ctx, &use{m: m, at: []node{d}, removes: d})
}

func (m *moves) begin(ctx context.Context, u *use) (*use, error) {
	err := m.await(ctx, func() bool {
		free := m.scope == nil || !m.excludesLocked(u)
		if free {
			m.uses[u] = true
		}
		return free
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// end lets renames go on that wait for the operation.
func (u *use) end() {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	delete(u.m.uses, u)
	u.m.wakeLocked()
}

// lock begins a rename: new uses of its scope wait, and it waits for those under
// way. unlock ends it.
func (m *moves) lock(ctx context.Context, s scope) (unlock func(), err error) {
	if err := m.one.lock(ctx); err != nil {
		return nil, err
	}
	s.all = len(m.unsettled) > 0
	unlock = func() {
		m.mu.Lock()
		m.scope = nil
		m.wakeLocked()
		m.mu.Unlock()
		m.one.unlock()
	}
	err = m.await(ctx, func() bool {
		m.scope = &s
		for u := range m.uses {
			if m.excludesLocked(u) {
				return false
			}
		}
		return true
	})
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// await asks again whenever something ends, with mu locked.
func (m *moves) await(ctx context.Context, free func() bool) error {
	for {
		m.mu.Lock()
		if free() {
			m.mu.Unlock()
			return nil
		}
		if m.changed == nil {
			m.changed = make(chan struct{})
		}
		changed := m.changed
		m.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (m *moves) wakeLocked() {
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// excludesLocked reports whether the scope has anything that u relies on.
func (m *moves) excludesLocked(u *use) bool {
	m.tree.RLock()
	defer m.tree.RUnlock()
	if m.scope.all || slices.ContainsFunc(u.at, m.scope.coversLocked) {
		return true
	}
	for at := m.scope.to.d; u.removes != nil && at != nil; at = at.up {
		if at == u.removes {
			return true
		}
	}
	return false
}

// coversLocked reports whether n is below the directory, below what it replaces,
// or below its new name.
func (s *scope) coversLocked(n node) bool {
	for {
		l := n.linked()
		if n == node(s.d) || s.over != nil && n == node(s.over) || l.up == s.to.d && l.name == s.to.name {
			return true
		}
		if l.up == nil {
			return false
		}
		n = l.up
	}
}
