// Package ctl lets other commands talk to a running mount: a unix socket that
// is named after the mount point, and over it one request and its events as
// lines of JSON.
//
// A client sends one [Request]. The mount answers with any number of events
// that say what it waits for, and ends with one whose Done is true. The mount
// closes the connection only when its process ends, so that a client can wait
// for that.
//
// The socket lies in a directory of mode 0700 that belongs to the user of the
// mount ([Dir]): whoever can connect is that user or root, so requests carry
// no credentials of their own.
//
// # Limitations
//
// One request per connection. A mount is found only by the user that mounted
// it: the directory depends on the user.
package ctl
