package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmsfs/kmsfs/internal/ctl"
	"github.com/kmsfs/kmsfs/s3io"
)

func newCtl(s std) *cobra.Command {
	return &cobra.Command{
		Use:   "ctl DIR flush-keys|drain|log-level LEVEL",
		Short: "Tell a running mount what to do",
		Long: `Tell the mount on DIR what to do:

  flush-keys       forget all data keys: the next use of each asks KMS, so that
                   a key that was disabled or a right that was taken away is
                   noticed at once and not only after --key-cache-ttl
  drain            wait until everything that was written is in S3
  log-level LEVEL  log from debug, info, warn or error on`,
		Example: `  kmsfs ctl /mnt/backup flush-keys
  kmsfs ctl /mnt/backup drain
  kmsfs ctl /mnt/backup log-level debug`,
		Args: between(2, 3, "the directory of a mount and what to do"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			switch {
			case len(args) == 0:
				return nil, cobra.ShellCompDirectiveFilterDirs
			case len(args) == 1:
				return []string{ctl.OpFlushKeys, ctl.OpDrain, ctl.OpLogLevel}, cobra.ShellCompDirectiveNoFileComp
			case args[1] == ctl.OpLogLevel:
				return logLevels, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r := ctl.Request{Op: args[1]}
			switch {
			case r.Op == ctl.OpLogLevel && len(args) == 3 && slices.Contains(logLevels, args[2]):
				r.Level = args[2]
			case r.Op == ctl.OpLogLevel:
				return &usageError{fmt.Errorf("log-level takes %s", strings.Join(logLevels, " or "))}
			case r.Op != ctl.OpFlushKeys && r.Op != ctl.OpDrain || len(args) == 3:
				return &usageError{fmt.Errorf("%q is nothing that a mount can be told; write flush-keys, drain or log-level LEVEL", strings.Join(args[1:], " "))}
			}
			return control(cmd.Context(), s, args[0], r)
		},
	}
}

// control has the mount on dir carry out r.
func control(ctx context.Context, s std, dir string, r ctl.Request) error {
	show := newLive(s.err)
	e, err := ask(ctx, dir, r, func(waiting []string) {
		if len(waiting) > 0 {
			show.set("saving: %s", strings.Join(waiting, "; "))
		}
	})
	show.end()
	for _, line := range e.Failed {
		say(s.err, "not saved: %s", s3io.Printable(line))
	}
	return err
}

// ask sends r to the mount on dir and returns its last event. An event that
// says why the request came to nothing is an error too.
func ask(ctx context.Context, dir string, r ctl.Request, progress func(waiting []string)) (ctl.Event, error) {
	path, err := ctl.Resolve(dir)
	if err != nil {
		return ctl.Event{}, fmt.Errorf("find the mount on %s: %w; give the directory of a mount", dir, err)
	}
	e, err := ctl.Call(ctx, path, r, progress)
	switch {
	case errors.Is(err, ctl.ErrNotRunning):
		return e, fmt.Errorf("ask the mount on %s: %w; give the directory of a mount, and run the command as the user that mounted it", path, err)
	case err != nil:
		return e, fmt.Errorf("ask the mount on %s: %w", path, err)
	case e.Error != "":
		return e, errors.New(e.Error)
	}
	return e, nil
}
