// Package backup certifies backup programs: each script of testdata is a
// program's whole story on a mount, and proves by comparing that nothing was
// lost.
//
// A script has three comments: "# packages:" names Debian's packages, "#
// version:" a command whose first line is the program's version, "# certifies:"
// what is done, for the table of docs/COMPATIBILITY.md. It defines store and
// check. [Run] calls store on a fresh mount, unmounts, mounts again, calls check
// in a new shell, and sees that every object is encrypted. Both find
//
//	MOUNT     a directory of the script's own on the mount, the same both times
//	SCRATCH   a local one that lives as long; HOME and TMPDIR are there, too
//	DATA      a local tree of SIZE_MIB, which all scripts read and none changes
//	SIZE_MIB  8, or what KMSFS_TEST_BACKUP_MIB says
//	KMSFS     the binary
//
// CI runs the scripts beside each other on one mount. Where there is much data
// they run one after the other, each on a server of its own, and so does a
// certification, which KMSFS_TEST_BACKUP_LOG asks for: it adds a line to that
// file for each (see [Record]). KMSFS_TEST_BACKUP_CASES chooses scripts. The
// table of the documentation is made from docs/COMPATIBILITY.log, and a test
// fails if it is not.
package backup
