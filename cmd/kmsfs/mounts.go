package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/kmsfs/kmsfs/internal/ctl"
)

// mountKind is the type of our mounts in the kernel's table.
const mountKind = "fuse.kmsfs"

// mountEntry is one line of the kernel's table of mounts.
type mountEntry struct {
	dir, kind, source string
}

// mountAt returns what is mounted on dir, the topmost if there are several.
func mountAt(dir string) (m mountEntry, ok bool, err error) {
	all, err := mounts()
	for _, each := range all {
		if each.dir == dir {
			m, ok = each, true
		}
	}
	return m, ok, err
}

// mountOf returns the kmsfs mount in which path lies, and path below it.
func mountOf(path string) (dir, below string, err error) {
	abs, err := ctl.Resolve(path)
	if err != nil {
		return "", "", fmt.Errorf("find the mount of %s: %w", path, err)
	}
	all, err := mounts()
	if err != nil {
		return "", "", err
	}
	var best mountEntry
	for _, m := range all {
		inside := m.dir == "/" || abs == m.dir || strings.HasPrefix(abs, m.dir+"/")
		if inside && len(m.dir) >= len(best.dir) {
			best = m
		}
	}
	if best.kind != mountKind {
		return "", "", fmt.Errorf("%s is not on a kmsfs mount; give a path below one, or s3://BUCKET/KEY", path)
	}
	below, err = filepath.Rel(best.dir, abs)
	return best.dir, below, err
}
