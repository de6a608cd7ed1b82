package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// demo is one guided run. Everything that it makes lies in work and dir, or
// in the sandbox, which lives in this process; finish removes all of it.
type demo struct {
	s    std
	show *live
	size int64  // of the large file
	tree string // the real files

	dir    string // the mount point
	made   bool   // by us, so it is removed at the end
	work   string // temporary: the sandbox's data, what restic restores, logs
	server *sandbox.Server

	results []result
}

// result is one line of the table at the end.
type result struct {
	step, detail string
	took         time.Duration
}

// step is one part of the demo; it returns what there is to say about it.
type step struct {
	name string
	run  func(ctx context.Context) (detail string, err error)
}

func newDemo(s std) *cobra.Command {
	d := &demo{s: s, show: newLive(s.err)}
	size := "512MiB"
	cmd := &cobra.Command{
		Use:   "demo [DIR]",
		Short: "Watch kmsfs work on real files, without an AWS account",
		Long: `Start a sandbox (an S3 and a KMS in this process), mount it on DIR or a
temporary directory, copy real files into it, remount and compare every byte,
let restic use it, count the KMS calls, take the key away and show what a user
sees then. Writes files in envelope mode, and opens one without the mount.
Removes everything it made, also when interrupted.`,
		Example: `  kmsfs demo
  kmsfs demo --tree /usr/share/doc --size 64MiB /tmp/mnt`,
		Args: between(0, 1, "at most the directory to mount on"),
	}
	cmd.Flags().StringVar(&d.tree, "tree", "", "directory of files to copy (default the sources of Go, else /usr/share/doc)")
	cmd.Flags().StringVar(&size, "size", size, "size of the large file")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !d.show.terminal {
			d.show.pause = 5 * time.Second // a log needs fewer lines than an eye
		}
		if len(args) == 1 {
			d.dir = args[0]
		}
		if err := d.configure(size); err != nil {
			return err
		}
		return d.run(cmd.Context())
	}
	return cmd
}

// configure checks the arguments before anything is made.
func (d *demo) configure(sizeText string) error {
	var c config
	if err := size(func(c *config) *int64 { return &c.s3.Memory }, 1, 1<<40, false)(&c, sizeText); err != nil {
		return &usageError{fmt.Errorf("--size: %w", err)}
	}
	d.size = c.s3.Memory
	if d.tree == "" {
		d.tree = realFiles()
	}
	info, err := os.Stat(d.tree)
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	if err != nil {
		return &usageError{fmt.Errorf("find files to copy: %w; name a directory with --tree", err)}
	}
	return checkFUSE(false)
}

// run carries out all steps, and the last one whatever happens.
func (d *demo) run(ctx context.Context) (err error) {
	start := time.Now()
	steps := []step{
		{"start an S3 and a KMS, over TLS", d.start},
		{"mount", d.mountFirst},
		{"copy real files", d.copyTree},
		{"write one large file", d.writeLarge},
		{"unmount, drop caches, mount again", d.remount},
		{"compare every byte", d.compare},
		{"restic init, backup, check, restore", d.restic},
		{"inspect an object", d.inspect},
		{"count KMS calls", d.countCalls},
		{"take the key away", d.revoke},
		{"encrypt on this machine: envelope mode", d.seal},
	}
	total := len(steps) + 1
	for i, step := range steps {
		if err = d.do(ctx, i+1, total, step); err != nil {
			break
		}
	}
	// Interrupted or not, nothing may remain.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err = errors.Join(err, d.do(clean, total, total, step{"remove everything", d.finish}))
	d.summary(time.Since(start))
	return err
}

// do carries out one step and notes how it went.
func (d *demo) do(ctx context.Context, n, total int, s step) error {
	fmt.Fprintf(d.s.out, "[%d/%d] %s\n", n, total, s.name)
	start := time.Now()
	detail, err := s.run(ctx)
	d.show.end()
	took := time.Since(start)
	if err != nil {
		d.showLog(ctx)
		d.results = append(d.results, result{s.name, "FAILED", took})
		return fmt.Errorf("%s: %w", s.name, err)
	}
	fmt.Fprintf(d.s.out, "       %s (%s)\n", detail, took.Round(10*time.Millisecond))
	d.results = append(d.results, result{s.name, detail, took})
	return nil
}

// showLog prints the end of the mount's log, which finish removes, unless the
// user asked for the end.
func (d *demo) showLog(ctx context.Context) {
	const most = 20
	text, err := os.ReadFile(filepath.Join(d.work, "mount.log"))
	if err != nil || ctx.Err() != nil {
		return
	}
	lines := slices.Collect(strings.Lines(string(text)))
	for _, line := range lines[max(0, len(lines)-most):] {
		fmt.Fprintf(d.s.err, "mount: %s", line)
	}
}

// summary prints the table at the end.
func (d *demo) summary(total time.Duration) {
	fmt.Fprintln(d.s.out)
	t := tabwriter.NewWriter(d.s.out, 0, 0, 2, ' ', 0)
	for _, r := range d.results {
		fmt.Fprintf(t, "%s\t%5.1f s\t%s\n", r.step, r.took.Seconds(), r.detail)
	}
	fmt.Fprintf(t, "all\t%5.1f s\t\n", total.Seconds())
	t.Flush()
}

// start brings up the sandbox.
func (d *demo) start(context.Context) (string, error) {
	var err error
	if d.work, err = os.MkdirTemp("", "kmsfs-demo-"); err != nil {
		return "", err
	}
	if d.dir == "" {
		d.dir = filepath.Join(d.work, "mnt")
	}
	if d.dir, err = filepath.Abs(d.dir); err != nil {
		return "", err
	}
	if err := os.Mkdir(d.dir, 0o755); err == nil {
		d.made = true
	} else if !errors.Is(err, os.ErrExist) {
		return "", err
	}
	data := filepath.Join(d.work, "sandbox")
	d.server, err = sandbox.Start(sandbox.Options{Dir: data, TLS: true})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("S3 at %s, KMS at %s", d.server.URL(), d.server.KMSURL()), nil
}

// finish unmounts and removes what the demo made. It must work after any step.
func (d *demo) finish(ctx context.Context) (string, error) {
	var failed []error
	if d.dir != "" {
		if m, ok, _ := mountAt(d.dir); ok && m.kind == mountKind {
			failed = append(failed, umount(ctx, d.s, d.dir, true))
		}
	}
	if d.server != nil {
		failed = append(failed, d.server.Close())
	}
	if d.made {
		failed = append(failed, os.Remove(d.dir)) // never what is below: it would be the bucket's
	}
	if m, ok, _ := mountAt(d.dir); ok && d.dir != "" {
		return "", errors.Join(append(failed, fmt.Errorf("%s is still mounted from %s; run kmsfs umount --force %s", d.dir, m.source, d.dir))...)
	}
	if d.work != "" {
		failed = append(failed, os.RemoveAll(d.work))
	}
	return "nothing is left", errors.Join(failed...)
}

// mountFirst mounts with the defaults: SSE-KMS with bucket keys.
func (d *demo) mountFirst(ctx context.Context) (string, error) {
	if err := d.mount(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("s3://%s on %s, --sse-kms-key-id %s", sandbox.Bucket, d.dir, sandbox.KeyAlias), nil
}

// mount mounts the sandbox's bucket with SSE-KMS, in a process of its own, as
// kmsfs mount does.
func (d *demo) mount(ctx context.Context, flags ...string) error {
	return d.mountFrom(ctx, "s3://"+sandbox.Bucket, append(flags, "--sse-kms-key-id="+sandbox.KeyAlias)...)
}

// mountFrom mounts any part of the bucket in any mode.
func (d *demo) mountFrom(ctx context.Context, source string, flags ...string) error {
	s := d.s
	s.env = append(withoutSettings(d.s.env), d.server.Env()...)
	s.args = append([]string{"mount", source, d.dir, "--path-style",
		"--state-dir=" + filepath.Join(d.work, "state"), "--spool-dir=" + d.work,
		"--log-file=" + filepath.Join(d.work, "mount.log")}, flags...)
	return startServer(ctx, s)
}

// withoutSettings returns env without what would lead a mount elsewhere.
func withoutSettings(env []string) []string {
	var kept []string
	for _, e := range env {
		setting := strings.HasPrefix(e, envPrefix) && !strings.HasPrefix(e, envTestPrefix)
		if !strings.HasPrefix(e, "AWS_") && !setting {
			kept = append(kept, e)
		}
	}
	return kept
}
