// Package posix proves that a mount behaves as programs expect of a file
// system: by go-fuse's conformance tests, and by random programs that run on a
// mount and on a plain directory of the machine, whose results must be equal.
//
// Every mount is served by a kmsfs of its own process. A mount that hangs is
// aborted, so that the test fails instead of hanging.
package posix
