package fs

import (
	"context"
	"errors"
	"slices"
	"sort"
	"sync"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/kmsfs/kmsfs/s3io"
	"golang.org/x/sync/errgroup"
)

// dirHandle is an open directory. go-fuse serialises what reads through it.
type dirHandle struct {
	d      *dir
	ctx    context.Context // of requests made ahead
	cancel context.CancelFunc

	l      *listing
	batch  []entry // of which batch[at:] comes next
	at     int
	pos    uint64 // entries given so far
	asked  uint64 // FS.clock before the batch was asked for
	marks  []mark // where batches began, for seekdir
	ahead  *ahead // heads for the batch; nil until attributes are asked for
	wishes wishes
}

// mark is a place in a directory from which listing can go on.
type mark struct {
	pos   uint64
	after string
	held  []raw
	local []string
}

var (
	_ fusefs.FileReaddirenter = (*dirHandle)(nil)
	_ fusefs.FileLookuper     = (*dirHandle)(nil)
	_ fusefs.FileSeekdirer    = (*dirHandle)(nil)
	_ fusefs.FileReleasedirer = (*dirHandle)(nil)
	_ fusefs.FileFsyncdirer   = (*dirHandle)(nil)
)

// OpendirHandle opens the directory for listing.
func (d *dir) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	h := &dirHandle{d: d}
	h.ctx, h.cancel = context.WithCancel(d.f.ctx)
	h.rewind(mark{local: d.unknown()})
	return h, 0, 0
}

// dots are the entries that S3 does not list.
var dots = [...]string{".", ".."}

// rewind begins to list at m.
func (h *dirHandle) rewind(m mark) {
	h.l = &listing{
		prefix: h.d.prefix(), skip: h.d.reserves, page: h.page,
		after: m.after, last: m.after, held: slices.Clone(m.held), local: m.local,
	}
	h.batch, h.at, h.pos = nil, 0, m.pos
	if m.pos == 0 {
		h.marks = nil
	}
}

// unknown returns the components of files in d that S3 does not have yet.
func (d *dir) unknown() []string {
	d.f.tree.RLock()
	defer d.f.tree.RUnlock()
	var names []string
	for _, n := range d.kids {
		f, ok := n.(*file)
		if !ok || f.dead {
			continue
		}
		f.mu.Lock()
		if f.unsaved && f.obj.ETag == "" {
			names = append(names, f.component())
		}
		f.mu.Unlock()
	}
	sort.Strings(names)
	return names
}

// page asks for a part of the listing, and lets lookups profit from the first.
func (h *dirHandle) page(ctx context.Context, q s3io.ListQuery) (s3io.ListPage, error) {
	h.asked = h.d.f.clock.Load()
	if q.After == "" && q.Token == "" {
		return h.d.look(ctx, q, "")
	}
	return h.d.f.b.List(ctx, q)
}

// fill fetches the next batch if the last one is used up, and reports whether
// there is an entry.
func (h *dirHandle) fill(ctx context.Context) (bool, error) {
	if h.at < len(h.batch) {
		return true, nil
	}
	h.d.f.tree.RLock()
	dead := h.d.dead
	h.d.f.tree.RUnlock()
	if dead {
		return false, nil
	}
	m := mark{pos: h.pos, after: h.l.last, held: slices.Clone(h.l.held), local: h.l.local}
	batch, err := h.l.next(ctx)
	if err != nil {
		return false, err
	}
	h.stopAhead()
	h.batch, h.at = batch, 0
	if len(batch) > 0 && (len(h.marks) == 0 || h.marks[len(h.marks)-1].pos < m.pos) {
		h.marks = append(h.marks, m)
	}
	return len(batch) > 0, nil
}

// Readdirent returns the next entry, nil at the end.
func (h *dirHandle) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	if h.pos < uint64(len(dots)) {
		h.pos++
		return &fuse.DirEntry{Name: dots[h.pos-1], Mode: syscall.S_IFDIR, Ino: h.d.StableAttr().Ino, Off: h.pos}, 0
	}
	wait, stop := patient(ctx)
	defer stop()
	more, err := h.fill(wait)
	if err != nil {
		return nil, h.d.f.answer("readdir", h.d.f.path(h.d), err)
	}
	if !more {
		return nil, 0
	}
	e := h.batch[h.at]
	h.at++
	h.pos++
	return &fuse.DirEntry{Name: e.name, Mode: h.d.typeOf(e), Ino: h.d.inoOf(e.name), Off: h.pos}, 0
}

// typeOf returns the type of an entry, 0 (DT_UNKNOWN) while only a HEAD could
// tell: what is no larger than a symlink's target can be one, or a special file.
func (d *dir) typeOf(e entry) uint32 {
	switch {
	case e.kind == isDir:
		return syscall.S_IFDIR
	case !d.f.o.PosixAttrs || e.obj.Size > targetMax:
		return syscall.S_IFREG
	}
	if n, ok := d.live(e.name).(*file); ok && n.known() {
		return n.Mode()
	}
	if o, ok := d.f.heads.get(e.obj); ok {
		return d.f.fileAttributes(o).typeOr(syscall.S_IFREG)
	}
	return 0
}

// inoOf returns the inode number that name has or would have.
func (d *dir) inoOf(name string) uint64 {
	d.f.tree.Lock()
	defer d.f.tree.Unlock()
	if n := d.liveLocked(name); n != nil {
		return n.EmbeddedInode().StableAttr().Ino
	}
	path := pathLocked(d)
	if path == "/" {
		path = ""
	}
	return inoOf(path + "/" + name)
}

// Seekdir goes to the entry after the one that had the offset off.
func (h *dirHandle) Seekdir(ctx context.Context, off uint64) syscall.Errno {
	wait, stop := patient(ctx)
	defer stop()
	if begin := h.pos - uint64(h.at); off >= begin && off <= begin+uint64(len(h.batch)) && off >= uint64(len(dots)) && len(h.batch) > 0 {
		h.at, h.pos = int(off-begin), off
		return 0
	}
	if off <= uint64(len(dots)) {
		h.rewind(mark{local: h.d.unknown()})
		h.pos = off
		return 0
	}
	i := sort.Search(len(h.marks), func(i int) bool { return h.marks[i].pos > off })
	if i == 0 {
		return syscall.EINVAL
	}
	h.rewind(h.marks[i-1])
	for h.pos < off {
		more, err := h.fill(wait)
		if err != nil {
			return h.d.f.answer("seekdir", h.d.f.path(h.d), err)
		}
		if !more {
			return 0 // the directory became shorter
		}
		n := min(uint64(len(h.batch)-h.at), off-h.pos)
		h.at += int(n)
		h.pos += n
	}
	return 0
}

// Lookup answers for the entry that Readdirent has just returned, from the
// listing and from heads that are asked for side by side.
func (h *dirHandle) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	wait, stop := patient(ctx)
	defer stop()
	n, err := h.lookup(wait, name)
	if err != nil {
		// The entry is listed without attributes. Whoever asks for them will
		// be told what is wrong, and the log too.
		return nil, errnoOf(err, false)
	}
	if n == nil {
		return nil, syscall.EAGAIN // only says that there are no attributes
	}
	h.d.f.entry(n, out)
	return n.EmbeddedInode(), 0
}

// lookup returns nil for an entry that is listed without attributes.
func (h *dirHandle) lookup(ctx context.Context, name string) (node, error) {
	d := h.d
	i := h.at - 1
	if i < 0 || h.batch[i].name != name || d.lostSince(name, h.asked) || h.batch[i].local {
		return d.find(ctx, name)
	}
	if n := d.live(name); n != nil {
		if f, ok := n.(*file); !ok && n.(*dir).known() || ok && f.known() {
			return d.f.kept(n), nil
		}
	}
	e := h.batch[i]
	got, err := found{e.kind, e.obj}, error(nil)
	if d.lacksHead(e) {
		if h.withholds(i) {
			return nil, nil
		}
		if h.ahead == nil {
			h.ahead = d.lookAhead(h.ctx, h.batch[i:], i, h.spared())
		}
		got, err = h.ahead.wait(ctx, i, e)
	}
	if e.kind == isDir && d.f.o.PosixAttrs && !h.ahead.has(i) {
		return d.find(ctx, name) // it was known when the others were asked for, or is now
	}
	if err == nil && d.f.o.PosixAttrs && got.kind == isFile && !got.obj.Head {
		got.obj, err = d.f.head(ctx, got.obj)
	}
	if err != nil {
		return nil, err
	}
	n, err := d.settle(ctx, name, got, h.asked)
	if errors.Is(err, errCrossed) {
		return d.find(ctx, name)
	}
	return n, err
}

// Fsyncdir writes the attributes of d and of what is in it.
func (h *dirHandle) Fsyncdir(ctx context.Context, _ uint32) syscall.Errno {
	d := h.d
	path := d.f.path(d)
	err := d.f.apart(ctx, "fsync "+path, func(ctx context.Context) error { return d.f.queue.under(ctx, d) })
	return d.f.answerCommit("fsync", path, err)
}

// Releasedir closes the directory.
func (h *dirHandle) Releasedir(context.Context, uint32) {
	h.cancel()
	h.stopAhead()
}

func (h *dirHandle) stopAhead() {
	if h.ahead != nil {
		h.ahead.stop()
		h.ahead = nil
	}
}

// ahead asks for the heads of a batch of entries, a bounded number at a time
// and in the order in which they will be looked up.
type ahead struct {
	first   int // index in the batch of results[0]
	results []headed
	stop    func() // ends and waits
}

type headed struct {
	done chan struct{} // closed when obj and err are there; nil if nothing was asked
	obj  s3io.Object
	err  error
}

// lookAhead begins to ask for what entries lack, the first of which has the
// index first in its batch, but for the one with the index spared.
func (d *dir) lookAhead(ctx context.Context, entries []entry, first, spared int) *ahead {
	a := &ahead{first: first, results: make([]headed, len(entries))}
	ctx, cancel := context.WithCancel(ctx)
	prefix := d.prefix()
	var todo []int
	for i, e := range entries {
		if first+i != spared && d.lacksHead(e) {
			a.results[i].done = make(chan struct{})
			todo = append(todo, i)
		}
	}
	var over sync.WaitGroup
	over.Go(func() {
		var g errgroup.Group
		g.SetLimit(headsAhead)
		for _, i := range todo {
			g.Go(func() error {
				r := &a.results[i]
				defer close(r.done)
				if entries[i].kind == isDir {
					r.obj, r.err = absentOK(d.f.b.Head(ctx, prefix+entries[i].component+"/"))
				} else {
					r.obj, r.err = d.f.head(ctx, entries[i].obj)
				}
				return nil
			})
		}
		_ = g.Wait() // errors are in results
	})
	a.stop = func() {
		cancel()
		over.Wait()
	}
	return a
}

// lacksHead reports whether e's attributes need a request.
func (d *dir) lacksHead(e entry) bool {
	if !d.f.o.PosixAttrs || e.local {
		return false
	}
	n := d.live(e.name)
	if sub, ok := n.(*dir); ok && e.kind == isDir {
		return !sub.known()
	}
	return e.kind == isDir || !d.f.heads.has(e.obj)
}

// has reports whether S3 was asked for the entry with index i.
func (a *ahead) has(i int) bool { return a != nil && i >= a.first && a.results[i-a.first].done != nil }

// wait returns what S3 has for the entry with index i of the batch.
func (a *ahead) wait(ctx context.Context, i int, e entry) (found, error) {
	if !a.has(i) {
		return found{e.kind, e.obj}, nil
	}
	r := &a.results[i-a.first]
	select {
	case <-r.done:
	case <-ctx.Done():
		return found{}, context.Cause(ctx)
	}
	return found{e.kind, r.obj}, r.err
}
