// Package fs presents one bucket as a POSIX tree through FUSE, and is the only
// place with errno, uid and mode.
//
// A file is an object, a directory a marker object `name/` or implied by the
// keys below it. What close and fsync answer is what S3 proved: a file's
// content is committed whole or not at all, by the writer of package s3io.
//
// # Nodes and pins
//
// Each file node is pinned to one state of its object. Our own commits and
// copies move the pin, for all descriptors. What somebody else does to the
// object is found by the next lookup, which makes a new node under the same
// inode number; descriptors on the old one read the old version or get ESTALE.
// Two live nodes never share StableAttr.Gen, so go-fuse cannot take one for the
// other. A node that has uncommitted content is never replaced.
//
// Symlinks, FIFOs, sockets and device nodes are file nodes, with all that is said
// of these, behind a face of their own: see special.go. Only a HEAD tells them
// from files, so listings answer DT_UNKNOWN for small objects until one is
// known.
//
// Changes of attributes, also of extended ones, after close are shown at once
// and written by a copy some seconds later, unless a commit or rename copies
// anyway, or fsync or Drain does not wait.
//
// Whether content is sealed is the affair of package s3io, which says how large
// it is. KMS is asked for by open, by reads and writes, and for extended
// attributes; stat and listings never wait for it.
//
// # Locks
//
// In this order, each optional:
//
//	FS.moves   shared by whatever uses a key, locked by directory renames below them
//	dir.gate   locked by what writes or removes the marker
//	file.gate  shared by writes, locked by what moves the pin or the name
//	FS.tree    links between nodes
//	dir.mu     attributes and listings of a directory
//	file.mu    attributes and state of a file
//	FS.mu, attrQueue.mu, jobs.mu, heads.mu   each alone
//
// The gates may be held over I/O, so waits for them end when the caller is
// being killed. The others guard memory and are never held over I/O: that is
// why stat of an open or known file never waits. A rename locks two file gates, in
// the order of StableAttr.Gen.
//
// # Limitations
//
// No hard links. Access times are not kept. The root's own attributes and the
// times that a directory gets from changes in it live in memory only; the root
// has no extended attributes. Without POSIX attributes there are no symlinks and
// no special files, because only these tell what an object is. Renaming
// a directory copies every object in it while commits of these wait, and is EXDEV above
// ten thousand; where content is bound to its name, as soon as there is a file
// in it. The list of what an open directory contains may miss or repeat a name
// that changed while it was read with seekdir.
package fs
