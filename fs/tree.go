package fs

import (
	"context"
	"hash/fnv"
	"strings"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a dir or a file. Symlinks and special files are files with another
// face to the kernel: see nodeOf.
type node interface {
	fusefs.InodeEmbedder
	linked() *link
	fill(out *fuse.Attr)
	unwritten() bool                      // memory knows what S3 does not
	writeAttrs(ctx context.Context) error // makes changed attributes durable
}

// link is where a node is in the tree. Its fields are guarded by FS.tree.
type link struct {
	up        *dir   // nil for the root
	name      string // as shown
	dead      bool   // unlinked, replaced or never came to be
	forgotten bool   // the kernel has let go of it, at least for a moment
}

func (l *link) linked() *link { return l }

// component returns what the node is called within the keys of its directory.
func (l *link) component() string {
	c, _, _ := componentOf(l.name)
	return c
}

// prefixLocked returns the key prefix of what is in d.
func (d *dir) prefixLocked() string {
	var parts []string
	for at := d; at.up != nil; at = at.up {
		parts = append(parts, at.component())
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString(parts[i])
		b.WriteByte('/')
	}
	return b.String()
}

// prefix returns the key prefix of what is in d, which is also the key of its
// marker object.
func (d *dir) prefix() string {
	d.f.tree.RLock()
	defer d.f.tree.RUnlock()
	return d.prefixLocked()
}

// pathLocked returns where a node is shown, for people.
func pathLocked(n node) string {
	l := n.linked()
	if l.up == nil {
		return "/"
	}
	at := pathLocked(l.up)
	if at == "/" {
		at = ""
	}
	return at + "/" + l.name
}

func (f *FS) path(n node) string {
	f.tree.RLock()
	defer f.tree.RUnlock()
	return pathLocked(n)
}

// pathIn returns where name in d is shown, for people.
func (d *dir) pathIn(name string) string {
	return strings.TrimSuffix(d.f.path(d), "/") + "/" + name
}

// liveLocked returns the node that is now called name in d, nil if there is
// none. go-fuse's own table is asked too: a node that was forgotten can come
// back when a lookup and a forget of it cross.
func (d *dir) liveLocked(name string) node {
	n := d.kids[name]
	if n == nil {
		inode := d.GetChild(name)
		if inode == nil {
			return nil
		}
		n = nodeOf(inode.Operations())
	}
	if l := n.linked(); l.dead || l.up != d || l.name != name {
		return nil
	}
	return n
}

func (d *dir) live(name string) node {
	d.f.tree.Lock()
	defer d.f.tree.Unlock()
	return d.liveLocked(name)
}

// place is a name in a directory.
type place struct {
	d    *dir
	name string
}

// has reports whether n is there. The kernel keeps names from changing while it
// waits for an operation on them, but not once the caller was killed: what was
// found before a gate was waited for may have moved.
func (p place) has(n node) bool {
	p.d.f.tree.RLock()
	defer p.d.f.tree.RUnlock()
	l := n.linked()
	return !l.dead && l.up == p.d && l.name == p.name
}

// isRemoved reports whether the directory was removed here, or one that it is in.
func (d *dir) isRemoved() bool {
	d.f.tree.RLock()
	defer d.f.tree.RUnlock()
	for at := d; at != nil; at = at.up {
		if at.removed {
			return true
		}
	}
	return false
}

// adoptLocked puts n under name in d. A node that is there already, a file
// that somebody else replaced, leaves its inode number to n.
func (d *dir) adoptLocked(ctx context.Context, name string, n node) {
	l := n.linked()
	l.up, l.name = d, name
	ops, mode := fusefs.InodeEmbedder(n), uint32(syscall.S_IFDIR)
	if n, ok := n.(*file); ok {
		ops, mode = n.face()
	}
	var ino uint64
	old := d.liveLocked(name)
	if old != nil {
		old.linked().dead = true
	}
	if old != nil && old.EmbeddedInode().IsDir() == (mode == syscall.S_IFDIR) {
		ino = old.EmbeddedInode().StableAttr().Ino
	} else {
		ino = d.f.freeInoLocked(pathLocked(n))
	}
	d.kids[name] = n
	d.f.inos[ino] = n
	d.f.prune.grownLocked()
	d.NewInode(ctx, ops, fusefs.StableAttr{Mode: mode, Ino: ino, Gen: d.f.gen.Add(1)})
}

// freeInoLocked returns the inode number of a path: its hash, so that numbers
// are stable over remounts, salted while another live node has that number.
func (f *FS) freeInoLocked(path string) uint64 {
	for salt := ""; ; salt += "/" {
		ino := inoOf(path + salt)
		if f.inos[ino] == nil {
			return ino
		}
	}
}

// inoOf hashes a path to an inode number, leaving out the reserved ones.
func inoOf(path string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(path))
	ino := h.Sum64()
	if ino <= 1 || ino == ^uint64(0) {
		ino = 2
	}
	return ino
}

// keepLocked makes sure that a node which is given to the kernel again is
// found under its name and owns its number.
func (f *FS) keepLocked(n node) {
	l := n.linked()
	l.forgotten = false
	if l.up != nil {
		l.up.kids[l.name] = n
	}
	if ino := n.EmbeddedInode().StableAttr().Ino; f.inos[ino] == nil {
		f.inos[ino] = n
	}
}

// buryLocked takes n out of the tree.
func (f *FS) buryLocked(n node) {
	l := n.linked()
	l.dead = true
	if l.up != nil && l.up.kids[l.name] == n {
		delete(l.up.kids, l.name)
	}
}

// forget is told by the kernel that it knows n no more.
func (f *FS) forget(n node) {
	f.tree.Lock()
	defer f.tree.Unlock()
	n.linked().forgotten = true
	if ino := n.EmbeddedInode().StableAttr().Ino; f.inos[ino] == n {
		delete(f.inos, ino)
	}
	f.dropLocked(n)
}

// dropLocked lets go of a forgotten node, and of its directory if that was
// only waiting for it. A node with changes that are not written yet stays,
// lest a lookup show the old state.
func (f *FS) dropLocked(n node) {
	l := n.linked()
	if !l.forgotten || n.unwritten() {
		return
	}
	if d, ok := n.(*dir); ok && len(d.kids) > 0 {
		return
	}
	if l.up == nil || l.up.kids[l.name] != n {
		return
	}
	delete(l.up.kids, l.name)
	f.dropLocked(l.up)
}

// settled is called when n's changes were written.
func (f *FS) settled(n node) {
	f.tree.Lock()
	defer f.tree.Unlock()
	f.dropLocked(n)
}

// walkLocked calls visit for every live file and directory below d.
func (d *dir) walkLocked(visit func(node)) {
	for _, n := range d.kids {
		visit(n)
		if sub, ok := n.(*dir); ok {
			sub.walkLocked(visit)
		}
	}
}

// below returns the live files and directories below d.
func (d *dir) below() (files []*file, dirs []*dir) {
	d.f.tree.RLock()
	defer d.f.tree.RUnlock()
	d.walkLocked(func(n node) {
		switch n := n.(type) {
		case *file:
			files = append(files, n)
		case *dir:
			dirs = append(dirs, n)
		}
	})
	return files, dirs
}

// files returns the live files below d.
func (d *dir) files() []*file {
	files, _ := d.below()
	return files
}

// moveLocked gives n another place. What was there before is dead already.
func (f *FS) moveLocked(n node, to *dir, name string) {
	l := n.linked()
	if l.up.kids[l.name] == n {
		delete(l.up.kids, l.name)
	}
	l.up, l.name = to, name
	to.kids[name] = n
}

// entry fills in what a lookup answers.
func (f *FS) entry(n node, out *fuse.EntryOut) {
	n.fill(&out.Attr)
	out.SetEntryTimeout(f.o.AttrTTL)
	out.SetAttrTimeout(f.o.AttrTTL)
}

// gone is what a lookup of a name answers that does not exist.
func gone(name string) error { return &fault{syscall.ENOENT, name + " does not exist"} }
