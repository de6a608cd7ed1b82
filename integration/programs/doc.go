// Package programs tries real programs on a mount: every script in testdata
// runs in a plain directory and on a mount, and must print the same and leave
// the same tree behind, byte for byte, after a remount too. Backups of an
// unchanged mount must read no file.
//
// A script begins in an empty directory. SCRATCH is a directory of its own that
// nobody compares, BLOBS one that all read from (see makeBlobs). Its comment
// "# differs:" has patterns of the paths that no two runs leave alike.
package programs
