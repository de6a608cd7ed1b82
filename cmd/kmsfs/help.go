package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// printUsage prints how a command is called, with its flags under the headings
// of their groups.
func printUsage(cmd *cobra.Command) error {
	var b strings.Builder
	if cmd.Runnable() && cmd.HasParent() {
		fmt.Fprintf(&b, "Usage:\n  %s\n", cmd.UseLine())
	} else {
		fmt.Fprintf(&b, "Usage:\n  %s COMMAND [flags]\n\nCommands:\n", cmd.CommandPath())
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() || c.Name() == "help" {
				fmt.Fprintf(&b, "  %-*s %s\n", cmd.NamePadding(), c.Name(), c.Short)
			}
		}
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	for _, g := range groups {
		printFlags(&b, cmd, string(g))
	}
	printFlags(&b, cmd, "")
	_, err := fmt.Fprint(cmd.OutOrStdout(), b.String())
	return err
}

// printFlags prints the flags of one group; those without a group come last.
func printFlags(b *strings.Builder, cmd *cobra.Command, heading string) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SortFlags = false
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if strings.Join(f.Annotations[groupAnnotation], "") == heading && !f.Hidden {
			flags.AddFlag(f)
		}
	})
	if !flags.HasFlags() {
		return
	}
	if heading == "" {
		heading = "Other"
	}
	fmt.Fprintf(b, "\n%s:\n%s", heading, flags.FlagUsagesWrapped(100))
}
