package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kmsfs/kmsfs/internal/sandbox"
)

func newSandbox(s std) *cobra.Command {
	var o sandbox.Options
	var plain bool
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Serve an S3 and a KMS of your own to try things out",
		Long: `Serve an S3 and a KMS endpoint on this machine, with the encryption rules of
AWS, until interrupted. Prints the environment that any S3 tool needs to use
them. The bucket demo and the keys alias/kmsfs-demo and alias/kmsfs-other exist.`,
		Example: `  kmsfs sandbox
  kmsfs sandbox --dir /var/tmp/sandbox --listen 127.0.0.1:9000`,
		Args: between(0, 0, "no arguments"),
	}
	cmd.Flags().StringVar(&o.Dir, "dir", "", "keep everything in this directory (default memory)")
	cmd.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:0", "address of the S3 endpoint; KMS takes the next port")
	cmd.Flags().BoolVar(&plain, "no-tls", false, "serve plain http")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.TLS = !plain
		server, err := sandbox.Start(o)
		if err != nil {
			return fmt.Errorf("%w; choose another --listen or --dir", err)
		}
		defer server.Close()
		for _, line := range server.Env() {
			fmt.Fprintf(s.out, "export %s\n", line)
		}
		fmt.Fprintf(s.err, "kmsfs: the sandbox serves until interrupted (Ctrl-C)\n")
		<-cmd.Context().Done()
		return nil
	}
	return cmd
}
