// Package load puts mounts under load: many writers and readers at once, a
// directory of very many files, a very large file, very many open files. The
// content is verified and the mount's process is watched: its memory stays
// within --memory and 64 MiB, and neither goroutines nor descriptors grow.
//
// What CI runs is small. These variables make it large, as `make soak` does:
//
//	KMSFS_TEST_MODE        the modes, such as "sse envelope"
//	KMSFS_TEST_LOAD_TIME   how long writers and readers run, such as 10m
//	KMSFS_TEST_LOAD_FILES  files in one directory, such as 100000
//	KMSFS_TEST_LOAD_GIB    size of the large file, such as 100
//	KMSFS_TEST_LOAD_OPEN   open files, such as 10000
package load
