package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kmsfs/kmsfs/internal/ctl"
)

// Hidden flags of mount, set by the helper of mount(8).
const (
	fakeFlag   = "fake"
	sloppyFlag = "sloppy"
)

func newMount(s std) *cobra.Command {
	var options []string
	var fake, sloppy bool
	cmd := &cobra.Command{
		Use:   "mount s3://BUCKET[/PREFIX] DIR [flags]",
		Short: "Mount a bucket, or the part of it below a prefix",
		Long: `Mount a bucket, or the part of it below a prefix, on the empty directory DIR.

Returns when the mount can be used. Before that it proves that the bucket
encrypts what is written as --sse and --sse-kms-key-id demand, and refuses the
mount where it does not. With --envelope-key-id everything is encrypted before
it leaves this machine as well, under data keys from that KMS key.

Every setting can be given as a flag, after -o, as a variable KMSFS_NAME
(KMSFS_PART_SIZE for --part-size) or in the file that --config names; the
first of these wins. With a file, the arguments may be left out: there they
are called source and dir.`,
		Example: `  kmsfs mount s3://backup/laptop /mnt/backup --sse-kms-key-id alias/backup
  kmsfs mount s3://backup/laptop /mnt/backup --envelope-key-id alias/backup
  kmsfs mount s3://backup /mnt/backup -o ro,allow_other
  kmsfs mount --config /etc/kmsfs/backup.toml --foreground`,
		Args: between(0, 2, "a bucket and a directory"),
	}
	addFlags(cmd.Flags(), groups[:]...)
	cmd.Flags().StringArrayVarP(&options, "options", "o", nil, "settings and words of mount(8), separated by commas")
	cmd.Flags().BoolVar(&fake, fakeFlag, false, "")
	cmd.Flags().BoolVar(&sloppy, sloppyFlag, false, "")
	cmd.Flags().MarkHidden(fakeFlag)
	cmd.Flags().MarkHidden(sloppyFlag)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := inputs{flags: cmd.Flags(), env: s.env, args: positional(args)}
		var err error
		in.options, in.noExec, err = splitMountOptions(parseOptions(strings.Join(options, ",")))
		if err != nil {
			return &usageError{err}
		}
		if sloppy {
			in.options = dropUnknown(s, in.options)
		}
		c, err := readConfig(in)
		if err != nil {
			return err
		}
		if c.source.bucket == "" || c.dir == "" {
			return &usageError{errors.New("a bucket and a directory are needed; write kmsfs mount s3://BUCKET/PREFIX DIR")}
		}
		return mount(cmd.Context(), s, c, fake)
	}
	return cmd
}

// positional names the arguments of mount as settings.
func positional(args []string) map[string][]string {
	named := map[string][]string{}
	for i, arg := range args {
		named[[...]string{"source", "dir"}[i]] = []string{arg}
	}
	return named
}

// dropUnknown leaves out options that are no settings, as mount -s demands,
// and says so.
func dropUnknown(s std, options []option) []option {
	var known []option
	for _, o := range options {
		if _, ok := lookup(o.name); ok {
			known = append(known, o)
			continue
		}
		fmt.Fprintf(s.err, "kmsfs: warning: option %q is unknown and has no effect\n", o.name)
	}
	return known
}

// mount checks what can be checked without S3, and then becomes the mount's
// process, or starts it and waits until it serves.
func mount(ctx context.Context, s std, c *config, fake bool) error {
	dir, err := ctl.Resolve(c.dir)
	if err != nil {
		return fmt.Errorf("mount on %s: %w; create the directory first", c.dir, err)
	}
	c.dir = dir
	if below(c.run.salvageDir, dir) {
		return &usageError{fmt.Errorf("--%s: %s is below the mount itself; name a directory elsewhere", salvageSetting, c.run.salvageDir)}
	}
	if !fake {
		removeDead(s, dir)
	}
	if err := checkMountPoint(dir); err != nil {
		return err
	}
	if err := checkFUSE(c.tree.shared()); err != nil {
		return err
	}
	if fake {
		return nil
	}
	if s.starter != nil {
		s.release()
		return serveInBackground(c, s.starter)
	}
	if c.run.foreground {
		s.release()
		ready := func([]string) error { return nil } // the log has the warnings
		log := slog.New(newLogHandler(s.err, c.run))
		if c.run.logFile != "" {
			file, err := openLog(c.run.logFile)
			if err != nil {
				return err
			}
			defer file.Close()
			log = slog.New(newLogHandler(file, c.run))
		}
		return serve(c, log, ready)
	}
	return startServer(ctx, s)
}

// removeDead takes away what a kmsfs mount left whose process died, so that a
// service can be started again. Where that does not work, checkMountPoint
// says what to do.
func removeDead(s std, dir string) {
	if !isDead(dir) {
		return
	}
	if m, ok, err := mountAt(dir); err == nil && ok && m.kind == mountKind && detach(dir) == nil {
		fmt.Fprintf(s.err, "kmsfs: warning: the process of an earlier mount on %s had died; its mount was removed\n", dir)
	}
}

// checkMountPoint says whether dir can be mounted on.
func checkMountPoint(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("mount on %s: there is no such directory; create it first", dir)
	case errors.Is(err, syscall.ENOTCONN):
		return fmt.Errorf("mount on %s: a mount whose process died is still there; run fusermount3 -u -z %s first", dir, dir)
	case err != nil:
		return fmt.Errorf("mount on %s: %w; choose a directory that you can enter", dir, err)
	case !info.IsDir():
		return fmt.Errorf("mount on %s: it is not a directory; choose one", dir)
	}
	if m, ok, err := mountAt(dir); err == nil && ok {
		return fmt.Errorf("mount on %s: busy, %s is mounted there (%s); unmount that first or choose another directory", dir, m.source, m.kind)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("mount on %s: %w; choose a directory that you can read", dir, err)
	}
	defer d.Close()
	if names, _ := d.Readdirnames(1); len(names) > 0 {
		return fmt.Errorf("mount on %s: it is not empty (%s is in it) and the mount would hide that; choose an empty directory", dir, names[0])
	}
	return nil
}
