package ctl

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Dir returns the directory of the sockets of this user, whether or not it
// exists: /run/kmsfs for root, else $XDG_RUNTIME_DIR/kmsfs, else a directory
// of the user's own among the temporary files.
func Dir() string {
	if os.Geteuid() == 0 {
		if info, err := os.Stat("/run"); err == nil && info.IsDir() {
			return "/run/kmsfs"
		}
	} else if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "kmsfs")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("kmsfs-%d", os.Geteuid()))
}

// Path returns the socket of the mount at dir, an absolute path as [Resolve]
// returns it. The name is a hash because a socket's path is limited to about
// 100 bytes.
func Path(dir string) string {
	return filepath.Join(Dir(), Name(dir)+".sock")
}

// Name returns a short file name that stands for the mount point dir.
func Name(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return fmt.Sprintf("%x", sum[:12])
}

// Resolve returns the absolute path of a mount point with all symbolic links
// followed. It never asks the mounted filesystem itself, which may be dead.
func Resolve(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for range 40 { // as many links as the kernel follows
		if path == "/" {
			return path, nil
		}
		parent, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", err
		}
		path = filepath.Join(parent, filepath.Base(path))
		target, err := os.Readlink(path)
		if err != nil { // not a link, or not there: the name stands for itself
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(parent, target)
		}
		path = filepath.Clean(target)
	}
	return "", &fs.PathError{Op: "resolve", Path: dir, Err: syscall.ELOOP}
}

// privateDir makes dir with mode 0700, and refuses one that somebody else
// owns or can enter: whoever can put a socket there could pose as the mount.
func privateDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return checkPrivate(dir)
}

// checkPrivate says whether dir is a directory that only this user can enter.
func checkPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ok || int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s must be a directory of mode 0700 that user %d owns; remove it or correct its mode", dir, os.Geteuid())
	}
	return nil
}
