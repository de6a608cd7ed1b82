package fs

import (
	"context"
	"slices"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
)

// The kernel remembers what it was told of until it needs the memory, and what
// it remembers we have to as well: a search through a million files would leave a
// million nodes here. So it is asked to forget what is in nobody's use, the longest
// known first. Kernels before 6.18 cannot be asked.
const (
	mostNodes  = knownObjects // it is asked above that, until half of it is left
	pruneBatch = 512          // nodes of one request to the kernel
	pruneEvery = 100 * time.Millisecond
)

// pruner has the kernel forget.
type pruner struct {
	f      *FS
	wake   chan struct{} // has one element when there are too many
	cancel context.CancelFunc
	over   sync.WaitGroup

	above int // how many nodes are too many; guarded by FS.tree
}

func newPruner(f *FS) *pruner {
	return &pruner{f: f, wake: make(chan struct{}, 1), cancel: func() {}, above: f.o.MostNodes}
}

// start begins to work; stop ends that.
func (p *pruner) start() {
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(p.f.ctx)
	p.over.Go(func() { p.run(ctx) })
}

func (p *pruner) stop() {
	p.cancel()
	p.over.Wait()
}

// grownLocked notes that there is a node more. The caller holds FS.tree.
func (p *pruner) grownLocked() {
	if len(p.f.inos) <= p.above {
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pruner) run(ctx context.Context) {
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return
		}
		for batch := range slices.Chunk(p.unused(), pruneBatch) {
			if ctx.Err() != nil {
				return
			}
			if errno := p.f.root.NotifyPrune(batch); errno == syscall.ENOSYS {
				return
			} else if errno != 0 {
				p.f.log.Debug("the kernel does not forget", "error", errno)
				break
			}
		}
		select { // what it forgets it tells a little later
		case <-time.After(pruneEvery):
		case <-ctx.Done():
			return
		}
	}
}

// unused returns the nodes that are to be forgotten, and counts anew how many are
// too many: those that are in use cannot be forgotten.
func (p *pruner) unused() []*fusefs.Inode {
	type old struct {
		n     *fusefs.Inode
		known time.Time
	}
	var all []old
	p.f.tree.Lock()
	for _, n := range p.f.inos {
		if known, ok := idleLocked(n); ok {
			all = append(all, old{n.EmbeddedInode(), known})
		}
	}
	used := len(p.f.inos) - len(all)
	p.above = max(p.f.o.MostNodes, used+p.f.o.MostNodes/2)
	p.f.tree.Unlock()
	slices.SortFunc(all, func(a, b old) int { return a.known.Compare(b.known) })
	var inodes []*fusefs.Inode
	for _, x := range all[:max(0, min(len(all), used+len(all)-p.f.o.MostNodes/2))] {
		inodes = append(inodes, x.n)
	}
	return inodes
}

// idleLocked reports whether n may be forgotten, and since when it is known.
func idleLocked(n node) (known time.Time, ok bool) {
	if n.unwritten() {
		return known, false
	}
	switch n := n.(type) {
	case *file:
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.checked, n.opens == 0 && n.late == nil // which the next open is to be told
	case *dir:
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.checked, len(n.kids) == 0 && n.up != nil
	}
	return known, false
}
