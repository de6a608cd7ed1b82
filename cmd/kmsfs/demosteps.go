package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// remount makes sure that what is read next comes from the bucket.
func (d *demo) remount(ctx context.Context) (string, error) {
	if err := umount(ctx, d.s, d.dir, false); err != nil {
		return "", err
	}
	dropped := "kernel caches dropped"
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		dropped = "the new mount has no caches (only root can drop the others)"
	}
	return dropped, d.mount(ctx)
}

// restic uses the mount as its repository, as a backup does.
func (d *demo) restic(ctx context.Context) (string, error) {
	if _, err := exec.LookPath("restic"); err != nil {
		return "left out: restic is not installed", nil
	}
	password, restored := rand.Text(), filepath.Join(d.work, "restored")
	for _, args := range [][]string{
		{"init"}, {"backup", d.tree}, {"check", "--read-data"}, {"restore", "latest", "--target", restored},
	} {
		d.show.set("restic %s", args[0])
		cmd := exec.CommandContext(ctx, "restic", append(args, "--no-cache", "--quiet")...)
		cmd.Env = append(withoutSettings(d.s.env), "RESTIC_REPOSITORY="+filepath.Join(d.dir, "restic"), "RESTIC_PASSWORD="+password)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 10 * time.Second
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("restic %s: %w: %s", args[0], err, bytes.TrimSpace(out))
		}
	}
	n, err := d.compareTrees(ctx, d.tree, filepath.Join(restored, d.tree))
	if err != nil {
		return "", fmt.Errorf("compare what restic restored: %w", err)
	}
	if err := os.RemoveAll(restored); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s files restored, all equal", humanize.Comma(int64(n))), nil
}

// inspect shows one of the copied files as S3 sees it.
func (d *demo) inspect(ctx context.Context) (string, error) {
	found, err := inspectPath(ctx, filepath.Join(d.dir, largeName), "")
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	if err := printInspected(&text, found); err != nil {
		return "", err
	}
	for line := range strings.Lines(text.String()) {
		fmt.Fprintf(d.s.out, "       %s", line)
	}
	return found.Mode + " under " + found.KMSKey, nil
}

// smallFiles is how many files are written to count calls.
const smallFiles = 300

// countCalls writes the same files with and without bucket keys.
func (d *demo) countCalls(ctx context.Context) (string, error) {
	if _, err := d.callsFor(ctx, "bucket-key-on"); err != nil {
		return "", err
	}
	on, objects := d.server.Log.Count("GenerateDataKey"), 0
	for _, op := range []string{"PutObject", "CopyObject", "CompleteMultipartUpload"} {
		objects += d.server.Log.Count(op)
	}
	if err := umount(ctx, d.s, d.dir, false); err != nil {
		return "", err
	}
	if err := d.mount(ctx, "--bucket-key=off"); err != nil {
		return "", err
	}
	off, err := d.callsFor(ctx, "bucket-key-off")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("GenerateDataKey: %d for all %s objects until here with bucket keys, %d for %d without",
		on, humanize.Comma(int64(objects)), off, smallFiles), nil
}

// callsFor writes small files and returns the KMS calls that S3 made for them.
func (d *demo) callsFor(ctx context.Context, name string) (int, error) {
	dir := filepath.Join(d.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, err
	}
	before := d.server.Log.Count("GenerateDataKey")
	for i := range smallFiles {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		d.show.set("%s: file %d of %d", name, i+1, smallFiles)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte(rand.Text()), 0o644); err != nil {
			return 0, err
		}
	}
	return d.server.Log.Count("GenerateDataKey") - before, nil
}

// revoke takes the right to use the key away, then disables it, and shows
// what a user sees; with the key back, everything works again.
func (d *demo) revoke(context.Context) (string, error) {
	file := func(n int) string { return filepath.Join(d.dir, "bucket-key-off", fmt.Sprint(n)) }
	key := d.server.KMS.KeyARN(sandbox.KeyAlias)

	undo := d.server.Denials.Deny("kms:Decrypt", key)
	denied := d.tell("kms:Decrypt denied", file(1))
	undo()
	if err := d.server.KMS.Disable(key); err != nil {
		return "", err
	}
	disabled := d.tell("key disabled", file(2))
	failed := os.WriteFile(file(0), []byte("new"), 0o644)
	fmt.Fprintf(d.s.out, "       key disabled: write: %v\n", failed)
	last := make([]byte, 4096)
	if n, err := unix.Getxattr(d.dir, "user.kmsfs.last_error", last); err == nil {
		fmt.Fprintf(d.s.out, "       user.kmsfs.last_error: %s\n", last[:n])
	}
	if err := d.server.KMS.Enable(key); err != nil {
		return "", err
	}
	if !errors.Is(denied, syscall.EACCES) || disabled == nil || failed == nil {
		return "", fmt.Errorf("without the key: reading gave %v and %v, writing gave %v; all must fail", denied, disabled, failed)
	}
	if err := os.WriteFile(file(0), []byte("new"), 0o644); err != nil {
		return "", fmt.Errorf("with the key back: %w", err)
	}
	if _, err := os.ReadFile(file(3)); err != nil {
		return "", fmt.Errorf("with the key back: %w", err)
	}
	return fmt.Sprintf("reads fail with %q, then %q; with the key back all works", errnoText(denied), errnoText(disabled)), nil
}

// tell reads a file and shows what a user sees.
func (d *demo) tell(state, file string) error {
	_, err := os.ReadFile(file)
	fmt.Fprintf(d.s.out, "       %s: read: %v\n", state, err)
	return err
}

// errnoText returns what a program says about err.
func errnoText(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return fmt.Sprint(err)
}
