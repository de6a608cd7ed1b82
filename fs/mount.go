package fs

import (
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// typeName is what mount(8) shows after "fuse.".
const typeName = "kmsfs"

// requestSize is how much the kernel reads or writes by one request; it allows
// no more by default (/proc/sys/fs/fuse/max_pages_limit).
const requestSize = 1 << 20

// maxBackground is how many requests the kernel sends without waiting for
// answers: enough to keep read-ahead going on several files.
const maxBackground = 64

// Mount attaches the tree to the directory dir and returns when the kernel has
// it. The error says what is missing and how to get it.
func (f *FS) Mount(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("mount point %s: %w", dir, err)
	}
	if err := checkMountPoint(dir); err != nil {
		return err
	}
	if err := checkFUSE(); err != nil {
		return err
	}
	server, err := fusefs.Mount(dir, f.root, f.mountOptions())
	if err != nil {
		return f.mountError(dir, err)
	}
	f.mu.Lock()
	f.server, f.mountedAt = server, dir
	f.mu.Unlock()
	f.queue.start()
	f.prune.start()
	if err := raiseReadAhead(dir); err != nil {
		f.log.Debug("reads stay at the kernel's default size", "error", err)
	}
	return nil
}

func (f *FS) mountOptions() *fusefs.Options {
	o := &fusefs.Options{
		EntryTimeout:    &f.o.AttrTTL,
		AttrTimeout:     &f.o.AttrTTL,
		NegativeTimeout: &f.o.AttrTTL,
		NullPermissions: true,
		RootStableAttr:  &fusefs.StableAttr{Ino: fuse.FUSE_ROOT_ID},
		MountOptions: fuse.MountOptions{
			AllowOther:        f.o.AllowOther,
			FsName:            f.o.FSName,
			Name:              typeName,
			Options:           []string{"default_permissions"},
			DirectMount:       os.Geteuid() == 0,
			MaxWrite:          requestSize,
			MaxBackground:     maxBackground,
			ExtraCapabilities: extraCapabilities,
			DirectMountFlags:  mountFlags(f.o.ReadOnly),
			DisableSplice:     true, // what is read is in memory; go-fuse would fill a pipe first, and complain where 1 MiB does not fit
			Logger:            log.New(logWriter{f.log}, "", 0),
		},
	}
	if f.o.ReadOnly {
		o.Options = append(o.Options, "ro")
	}
	return o
}

// logWriter passes on what go-fuse itself has to say.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.log.Warn("go-fuse", "message", strings.TrimSpace(string(p)))
	return len(p), nil
}

// checkMountPoint refuses what cannot be mounted on, or should not.
func checkMountPoint(dir string) error {
	var st, up syscall.Stat_t
	err := syscall.Stat(dir, &st)
	switch {
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("mount point %s does not exist; create it: mkdir -p %s", dir, dir)
	case errors.Is(err, syscall.ENOTCONN):
		return fmt.Errorf("mount point %s is a mount whose server is gone; unmount it first: fusermount3 -u %s", dir, dir)
	case err != nil:
		return fmt.Errorf("mount point %s: %w", dir, err)
	case st.Mode&syscall.S_IFMT != syscall.S_IFDIR:
		return fmt.Errorf("mount point %s is not a directory; name a directory", dir)
	}
	if err := syscall.Stat(filepath.Dir(dir), &up); err == nil && up.Dev != st.Dev {
		return fmt.Errorf("mount point %s is busy: something is mounted there; unmount it first: umount %s", dir, dir)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("mount point %s: %w", dir, err)
	}
	if len(names) > 0 {
		return fmt.Errorf("mount point %s is not empty, and what is in it (%s, ...) would be hidden; choose an empty directory", dir, names[0].Name())
	}
	return nil
}

// mountError adds the remedy where one is known.
func (f *FS) mountError(dir string, err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("mount on %s: fusermount3 was not found; install it (package fuse3) or mount as root: %w", dir, err)
	case f.o.AllowOther && os.Geteuid() != 0:
		return fmt.Errorf("mount on %s: %w; --allow-other needs the line user_allow_other in /etc/fuse.conf", dir, err)
	case os.Geteuid() == 0:
		return fmt.Errorf("mount on %s: %w; in a container this needs --device /dev/fuse and --cap-add SYS_ADMIN", dir, err)
	}
	return fmt.Errorf("mount on %s: %w", dir, err)
}

// Wait returns when the tree is unmounted, and the files that were open have
// been closed.
func (f *FS) Wait() {
	if server, _ := f.mounted(); server != nil {
		server.Wait()
		f.disposeAll()
	}
	f.prune.stop()
	f.queue.stop()
}

func (f *FS) mounted() (*fuse.Server, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.server, f.mountedAt
}

// Unmount detaches the tree. The error is EBUSY while files are open or
// processes have their working directory in it.
func (f *FS) Unmount() error {
	_, dir := f.mounted()
	if dir == "" {
		return nil
	}
	if err := unmount(dir); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	f.mu.Lock()
	f.mountedAt = ""
	f.mu.Unlock()
	f.Wait()
	return nil
}
