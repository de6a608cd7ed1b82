package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kmsfs/kmsfs/internal/ctl"
	"github.com/kmsfs/kmsfs/s3io"
)

func newUmount(s std) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "umount DIR",
		Short: "Save what was written, then unmount",
		Long: `Wait until everything that was written is in S3, show what is waited for, and
unmount. What cannot be saved is encrypted under a KMS key, kept in the mount's
--salvage-dir and named, and the exit status is 1. Where that is impossible the
mount stays until --force.
The mount of a process that died is removed too.`,
		Example: `  kmsfs umount /mnt/backup
  kmsfs umount --force /mnt/backup`,
		Args: between(1, 1, "the directory of a mount"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return umount(cmd.Context(), s, args[0], force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "unmount even if something cannot be saved or is in use; what cannot be kept either is lost")
	return cmd
}

// umount asks the mount's process to drain and unmount, and waits for its end.
func umount(ctx context.Context, s std, dir string, force bool) error {
	path, err := ctl.Resolve(dir)
	if err != nil {
		return fmt.Errorf("unmount %s: %w; give the directory of a mount", dir, err)
	}
	show := newLive(s.err)
	e, err := ctl.Call(ctx, path, ctl.Request{Op: ctl.OpUnmount, Force: force}, func(waiting []string) {
		if len(waiting) > 0 {
			show.set("saving: %s", strings.Join(waiting, "; "))
		}
	})
	show.end()
	if errors.Is(err, ctl.ErrNotRunning) {
		return umountDead(s, path, force)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	for _, line := range e.Failed {
		say(s.err, "not saved: %s", s3io.Printable(line))
	}
	for _, line := range e.Waiting {
		say(s.err, "in use: %s", s3io.Printable(line))
	}
	switch {
	case e.Error == "" && !e.Lost && e.Kept > 0:
		return fmt.Errorf("unmounted %s; what is named above is not in the bucket but kept in files of this machine", dir)
	case e.Error == "" && e.Lost:
		return fmt.Errorf("unmounted %s, but what is named above was lost", dir)
	case e.Error == "":
		return nil
	case len(e.Waiting) == 0:
		return fmt.Errorf("%s is still mounted: %s; repair the cause and try again, or give up what is not saved with --force", dir, e.Error)
	}
	return fmt.Errorf("%s is still mounted: %s; end what is named above, or take the mount away with --force", dir, e.Error)
}

// statLimit bounds how long a dead or stuck mount may take to answer.
const statLimit = 5 * time.Second

// umountDead removes a mount whose process does not answer.
func umountDead(s std, dir string, force bool) error {
	m, ok, err := mountAt(dir)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("unmount %s: nothing is mounted there; findmnt -t %s lists what is", dir, mountKind)
	case m.kind != mountKind:
		return fmt.Errorf("unmount %s: it is not a kmsfs mount but %s; use umount(8)", dir, m.kind)
	}
	dead := isDead(dir)
	if !force && !dead {
		return fmt.Errorf("unmount %s: its process does not answer this user; run the command as the user that mounted it, or take the mount away with --force", dir)
	}
	if err := detach(dir); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	if !dead {
		return nil
	}
	if err := os.Remove(ctl.Path(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the control socket: %w", err)
	}
	fmt.Fprintf(s.err, "kmsfs: the process of this mount had died, so files that were not closed then are lost; its log tells why\n")
	return nil
}

// askForName asks the mount's process for a name, as Lstat does not while the kernel
// knows the answer.
func askForName(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if _, err = d.Readdirnames(1); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// isDead says whether the kernel knows that nobody serves the mount.
func isDead(dir string) bool {
	answer := make(chan error, 1) // a stuck mount keeps the goroutine, not us
	go func() {
		answer <- askForName(dir)
	}()
	select {
	case err := <-answer: // aborted is who asked when the process died
		return errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED)
	case <-time.After(statLimit):
		return false
	}
}
