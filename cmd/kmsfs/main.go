package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// usageError is an error of whoever typed the command.
type usageError struct{ err error }

// Error returns the text of the cause.
func (e *usageError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *usageError) Unwrap() error { return e.err }

// errReported means that the command has said on its own what went wrong.
var errReported = errors.New("reported")

// std is what a command talks to.
type std struct {
	in       io.Reader
	out, err io.Writer
	env      []string
	args     []string // of the command line, for the process that a mount starts
	release  func()   // leaves signals to the caller from now on
	starter  *os.File // where a mount in the background reports; nil elsewhere
}

func main() {
	s := std{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Environ()}
	if name := filepath.Base(os.Args[0]); name == helperName {
		os.Exit(runHelper(s, os.Args[1:]))
	}
	os.Exit(run(s, os.Args[1:]))
}

// run carries out one command line and returns the exit status.
func run(s std, args []string) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.release = sync.OnceFunc(onSignals(sameSignal, cancel, func() { os.Exit(exitFailure) }))
	defer s.release()
	s.args, s.starter = args, inheritedReport()
	root := newRoot(s)
	root.SetArgs(args)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	if err != nil && s.starter != nil {
		tell(s.starter, err)
	}
	return report(s, err)
}

// sameSignal is for commands that people run: timeout(1) and shells signal a
// process and then its group, which is no second wish to end.
const sameSignal = time.Second

// onSignals calls first and then second as SIGTERM, SIGINT or SIGHUP arrive.
// What comes within same of the first signal is taken for that one.
func onSignals(same time.Duration, first, second func()) (stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		var at time.Time
		for {
			select {
			case <-done:
				return
			case <-signals:
			}
			if at.IsZero() {
				at = time.Now()
				first()
			} else if time.Since(at) >= same {
				second()
				return
			}
		}
	}()
	return func() { signal.Stop(signals); close(done) }
}

// report prints err as one sentence and returns the exit status for it.
func report(s std, err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitFailure
	case errors.As(err, &usage):
		say(s.err, "kmsfs: %v", err)
		return exitUsage
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(s.err, "kmsfs: interrupted")
		return exitFailure
	}
	say(s.err, "kmsfs: %v", err)
	return exitFailure
}

// newRoot assembles the command line.
func newRoot(s std) *cobra.Command {
	root := &cobra.Command{
		Use:           "kmsfs",
		Short:         "Mount an S3 bucket in which nothing is stored unencrypted by mistake",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Errorf("unknown command %q; kmsfs --help lists all", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w; %s --help lists all flags", err, cmd.CommandPath())}
	})
	root.SetUsageFunc(printUsage)
	root.AddCommand(newMount(s), newUmount(s), newDoctor(s), newDemo(s), newSandbox(s), newInspect(s),
		newDecrypt(s), newRekey(s), newStats(s), newCtl(s), newVersion(s))
	for _, cmd := range root.Commands() {
		completeWords(cmd)
	}
	return root
}

// completeWords lets shells complete the values of flags that take one of a few
// words, which --help shows as a|b.
func completeWords(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if words := strings.Split(f.Value.Type(), "|"); len(words) > 1 && words[0] == strings.ToLower(words[0]) {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
		}
	})
}

// between demands from least to most arguments, named for the message.
func between(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return &usageError{fmt.Errorf("%s takes %s, but was given %d arguments; see %s --help",
				cmd.CommandPath(), names, len(args), cmd.CommandPath())}
		}
		return nil
	}
}
