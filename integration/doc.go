// Package integration holds the mounted end-to-end suites and the benchmarks.
package integration
