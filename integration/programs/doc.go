// Package programs tries real programs on a mount: every script in testdata
// runs in a plain directory and on mounts, and both must print the same and
// leave the same trees behind, byte for byte. Backups of an unchanged mount
// must read no file.
//
// A script can be run by hand in an empty directory, with the three variables
// that begin it set; what differs on every run it names after "# differs:".
package programs
