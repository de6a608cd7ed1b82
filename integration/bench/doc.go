// Package bench measures the mount against the SDK alone: the same server, the
// same machine, the same run, interleaved; throughput in medians of three. `make bench`
// runs it with every file on tmpfs; docs/PERFORMANCE.md keeps the figures.
//
// Nothing here fails because something is slow.
package bench
