// Package fs presents one bucket as a POSIX tree through FUSE.
package fs
