package fs

import (
	"context"
	"errors"
	"maps"
	"strings"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/kmsfs/kmsfs/s3io"
	"golang.org/x/sync/errgroup"
)

// kind is what a name turns out to be.
type kind uint8

const (
	nothing kind = iota
	isFile
	isDir
)

// found is what S3 has under a name.
type found struct {
	kind kind
	obj  s3io.Object // the file's object, or the directory's marker if it has one
}

// Lookup finds name in d.
func (d *dir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	d.looked.Add(1)
	wait, stop := patient(ctx)
	defer stop()
	n, err := d.find(wait, name)
	if err != nil {
		return nil, d.f.answer("lookup", d.pathIn(name), err)
	}
	d.f.entry(n, out)
	return n.EmbeddedInode(), 0
}

// check refuses names that cannot be, and hides what is ours.
func (d *dir) check(name string) (component string, hidden bool, err error) {
	if len(name) > nameMax {
		return "", false, &fault{syscall.ENAMETOOLONG, "the name is longer than 255 bytes"}
	}
	component, hidden, ok := componentOf(name)
	if !ok || d.reserves(component) {
		return "", false, gone(name)
	}
	return component, hidden, nil
}

// reserves reports whether component is the directory that kmsfs keeps for
// itself under the mount's prefix.
func (d *dir) reserves(component string) bool { return d == d.f.root && component == reservedName }

// find returns the node called name in d. What is known and young enough, or
// is being written here, is answered from memory.
func (d *dir) find(ctx context.Context, name string) (node, error) {
	component, hidden, err := d.check(name)
	if err != nil {
		return nil, err
	}
	n := d.live(name)
	switch n := n.(type) {
	case *file:
		if n.known() {
			return d.f.kept(n), nil
		}
	case *dir:
		if n.known() {
			return d.f.kept(n), nil
		}
	}
	may, hinted := d.guess(ctx, n, component, hidden)
	if may == (kinds{}) {
		return nil, gone(name)
	}
	for {
		before := d.f.clock.Load()
		got, err := d.resolve(ctx, component, hidden, may)
		if err == nil && got.kind == nothing && may != bothKinds && (n != nil || hinted) {
			got, err = d.resolve(ctx, component, hidden, bothKinds)
		}
		if err != nil {
			return nil, err
		}
		if n, err := d.settle(ctx, name, got, before); !errors.Is(err, errCrossed) {
			return n, err
		}
	}
}

// errCrossed says that the name was removed here after S3 was asked for it.
var errCrossed = errors.New("crossed with a removal")

// guess says what to ask S3 for. What is known is most likely still there, and
// of the same kind: one request will tell.
func (d *dir) guess(ctx context.Context, n node, component string, hidden bool) (may kinds, hinted bool) {
	switch n.(type) {
	case *file:
		if hidden { // by a directory, which may be gone
			return bothKinds, false
		}
		return kinds{file: true}, false
	case *dir:
		return kinds{dir: true}, false
	}
	if k, ok := d.inWindow(component); ok {
		return k, false
	}
	if !hidden && d.hinted(component) {
		return kinds{file: true}, true
	}
	return d.possible(ctx, component), false
}

// kept returns n, which the kernel is about to hear of again.
func (f *FS) kept(n node) node {
	f.tree.Lock()
	defer f.tree.Unlock()
	f.keepLocked(n)
	return n
}

// resolve asks S3 what is under a component: the object itself and, side by
// side, the first key below it. Of both, the directory wins and the object is
// shown under its hidden name.
func (d *dir) resolve(ctx context.Context, component string, hidden bool, may kinds) (found, error) {
	key, asked := d.prefix()+component, d.f.clock.Load()
	var object, marker s3io.Object
	var below bool
	g, gctx := errgroup.WithContext(ctx)
	if may.file && component != "" {
		g.Go(func() (err error) {
			object, err = absentOK(d.f.b.Head(gctx, key))
			return err
		})
	}
	if may.dir {
		g.Go(func() (err error) {
			marker, below, err = d.f.probeDir(gctx, key+"/")
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return found{}, err
	}
	switch {
	case below && !hidden:
		return found{isDir, marker}, nil
	case object.ETag != "" && below == hidden:
		d.f.heads.put(object, asked)
		return found{isFile, object}, nil
	}
	return found{}, nil
}

// probeDir asks whether there is anything under prefix, and what its marker is.
func (f *FS) probeDir(ctx context.Context, prefix string) (marker s3io.Object, exists bool, err error) {
	page, err := f.b.List(ctx, s3io.ListQuery{Prefix: prefix, Max: 1})
	if err != nil || len(page.Objects) == 0 {
		return s3io.Object{}, false, err
	}
	first := page.Objects[0]
	if first.Key != prefix {
		return s3io.Object{}, true, nil
	}
	if f.o.PosixAttrs {
		first, err = f.head(ctx, first)
	}
	return first, err == nil, err
}

// head completes an object that a listing named, from memory if it is known.
func (f *FS) head(ctx context.Context, listed s3io.Object) (s3io.Object, error) {
	if o, ok := f.heads.get(listed); ok {
		return o, nil
	}
	asked := f.clock.Load()
	o, err := f.b.Head(ctx, listed.Key)
	if err == nil {
		f.heads.put(o, asked)
	}
	return o, err
}

// absentOK turns "no such key" into an empty object.
func absentOK(o s3io.Object, err error) (s3io.Object, error) {
	if isKind(err, s3io.NotExist) {
		return s3io.Object{}, nil
	}
	return o, err
}

// settle makes the tree agree with what S3 has under name: the live node is
// kept if it shows that content, or is being changed here, else a new node
// takes its place and descriptors on the old one go on as they can. before is
// FS.clock from before S3 was asked; errCrossed says that it has to be again.
func (d *dir) settle(ctx context.Context, name string, got found, before uint64) (node, error) {
	d.f.tree.Lock()
	defer d.f.tree.Unlock()
	old := d.liveLocked(name)
	switch old := old.(type) {
	case *file:
		if !old.becomes(got.obj, before) && old.accept(got, before) {
			d.f.keepLocked(old)
			return old, nil
		}
	case *dir:
		if got.kind == isDir || old.staysLocked() {
			if got.kind == isDir {
				old.accept(got.obj, before)
			}
			d.f.keepLocked(old)
			return old, nil
		}
	}
	if got.kind != nothing && d.lostSince(name, before) {
		return nil, errCrossed
	}
	switch got.kind {
	case isFile:
		n := d.f.newFile(got.obj)
		d.adoptLocked(ctx, name, n)
		return n, nil
	case isDir:
		n := d.f.newDir(got.obj)
		d.adoptLocked(ctx, name, n)
		return n, nil
	}
	if old != nil {
		d.f.buryLocked(old)
	}
	d.mu.Lock()
	d.missed = time.Now()
	d.mu.Unlock()
	return nil, gone(name)
}

// staysLocked reports whether a directory exists here though S3 has nothing of it:
// its last entry was removed here, its attributes are about to be written, or
// files are being created in it.
func (d *dir) staysLocked() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sticky || d.changed > 0 || d.busy > 0 {
		return true
	}
	for _, n := range d.kids {
		if n.unwritten() {
			return true
		}
	}
	return false
}

// kinds are the kinds that a name may turn out to be.
type kinds struct{ file, dir bool }

var bothKinds = kinds{true, true}

// window is a part of a directory's listing: what is not in it does not exist.
type window struct {
	at       time.Time
	from, to string          // components; to "" is the end
	names    map[string]bool // objects as they are, prefixes with their slash
}

// looks counts the listings of a directory that are under way, and knows what
// was made here meanwhile: they may or may not have it.
type looks struct {
	now  int
	made map[string]bool
}

// maxMade bounds looks.made: listings that saw more than that come and go are
// not believed.
const maxMade = 10_000

// possible says what component can be, as far as listings that are young
// enough tell. Programs that look for many absent names in a directory, such
// as those that create files, are served by one listing instead of two
// requests for each name.
func (d *dir) possible(ctx context.Context, component string) kinds {
	if k, ok := d.inWindow(component); ok {
		return k
	}
	d.mu.Lock()
	again := time.Since(d.missed) < 4*d.f.o.AttrTTL
	d.mu.Unlock()
	if !again || d.loadWindow(ctx, component) != nil {
		return bothKinds
	}
	if k, ok := d.inWindow(component); ok {
		return k
	}
	return bothKinds
}

func (d *dir) inWindow(component string) (kinds, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &d.seen
	below := component + "/"
	if !d.f.fresh(w.at) || component < w.from || w.to != "" && below >= w.to {
		return kinds{}, false
	}
	return kinds{w.names[component], w.names[below]}, true
}

// loadWindow lists d from a little before component on.
func (d *dir) loadWindow(ctx context.Context, component string) error {
	from := component[:max(0, len(component)-1)]
	from = strings.ToValidUTF8(from, "")
	prefix := d.prefix()
	q := s3io.ListQuery{Prefix: prefix, Delimiter: true, Max: pageSize}
	if from != "" {
		q.After = prefix + from
	}
	_, err := d.look(ctx, q, from)
	return err
}

// look lists a page of d that begins at from, and remembers it.
func (d *dir) look(ctx context.Context, q s3io.ListQuery, from string) (s3io.ListPage, error) {
	d.mu.Lock()
	d.looks.now++
	w := window{at: time.Now(), from: from}
	d.mu.Unlock()
	page, err := d.f.b.List(ctx, q)
	w.names = make(map[string]bool, len(page.Objects)+len(page.Prefixes))
	last := ""
	for _, o := range page.Objects {
		last = max(last, o.Key)
		w.names[strings.TrimPrefix(o.Key, q.Prefix)] = true
	}
	for _, p := range page.Prefixes {
		last = max(last, p)
		w.names[strings.TrimPrefix(p, q.Prefix)] = true
	}
	if page.Token != "" {
		w.to = strings.TrimPrefix(last, q.Prefix)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && len(d.looks.made) < maxMade && w.at.After(d.seen.at) {
		maps.Copy(w.names, d.looks.made)
		d.seen = w
	}
	if d.looks.now--; d.looks.now == 0 {
		d.looks.made = nil
	}
	return page, err
}

// made notes an entry that was made here.
func (d *dir) made(component string) {
	d.touch()
	d.listed(component)
}

// listed notes an entry that listings have from now on.
func (d *dir) listed(component string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen.names != nil {
		d.seen.names[component] = true
	}
	if d.looks.now == 0 || len(d.looks.made) >= maxMade {
		return
	}
	if d.looks.made == nil {
		d.looks.made = make(map[string]bool)
	}
	d.looks.made[component] = true
}
