package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/kmsfs/kmsfs/s3io"
)

// rekeyResult is what a rekey found and did.
type rekeyResult struct {
	Source  string `json:"source"`
	To      string `json:"to"` // ARN
	DryRun  bool   `json:"dry_run"`
	Objects int64  `json:"objects"`
	Sealed  int64  `json:"envelope_objects"`

	// Distinct data keys.
	DataKeys  int64 `json:"data_keys"`
	Rewrapped int64 `json:"rewrapped"` // now; in a dry run those that would be
	Kept      int64 `json:"rewrapped_before"`
	Already   int64 `json:"under_new_key"`

	// Objects that stay as they are, and the first of each kind.
	Foreign     int64    `json:"foreign"`
	ForeignURLs []string `json:"foreign_objects"`
	Failed      int64    `json:"failed"`
	Failures    []string `json:"failures"`

	Materialized int64     `json:"materialized"`
	KMS          *kmsUsage `json:"kms"`
}

// mostListed bounds what a machine-readable result names of each kind.
const mostListed = 1000

func newRekey(s std) *cobra.Command {
	r := &rekeying{s: s}
	var to string
	cmd := &cobra.Command{
		Use:   "rekey s3://BUCKET[/PREFIX] --to KEY",
		Short: "Move envelope objects to another KMS key",
		Long: `Have KMS wrap the data keys of all envelope objects below PREFIX under another
KMS key. That takes one kms:ReEncrypt for each distinct data key, a few thousand
for a million files, and moves no content: the results are kept in the bucket
below .kmsfs/rewrap/, where mounts look for them, and the objects stay as they
are. PREFIX must be that of the mounts. It can be interrupted and run again at
any time: what is done is not done twice.

Only objects that are bound to the bucket are looked at (--context-bucket,
--accept-context-bucket), and KMS is asked only for those under the keys that
--from names: without it, under any key of the account that owns the new one.

With --materialize every object is rewritten in full under the new key as well,
with the encryption settings given, which should be those of the mounts.

Needs kms:ReEncryptFrom on the old keys, kms:ReEncryptTo, kms:GenerateDataKey
and kms:Decrypt on the new one, and to list, read and write in the bucket.`,
		Example: `  kmsfs rekey s3://backup/laptop --to alias/new --dry-run
  kmsfs rekey s3://backup/laptop --to alias/new
  kmsfs rekey s3://backup/laptop --to alias/new --from alias/old --materialize`,
		Args: between(1, 1, "a bucket as s3://BUCKET[/PREFIX]"),
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "the new KMS key: id, ARN, alias/NAME or alias ARN")
	f.StringArrayVar(&r.from, "from", nil, "old KMS key; repeatable (default every key of the new one's account)")
	f.BoolVar(&r.materialize, "materialize", false, "rewrite every object in full under the new key")
	f.BoolVar(&r.dry, "dry-run", false, "look and count, change nothing, do not ask KMS to wrap anything")
	f.BoolVar(&r.asJSON, "json", false, "machine-readable output")
	for _, name := range []string{"context-scope", "context-bucket", "accept-context-bucket", "kms-grant-token"} {
		addFlag(f, name)
	}
	addFlags(f, encryption, connection)
	addFlag(f, "config")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if to == "" {
			return &usageError{errors.New("--to is missing; name the new KMS key with --to KEY")}
		}
		given := map[string][]string{"source": args, envelopeKey: {to}}
		if len(r.from) > 0 {
			given["allow-key-id"] = r.from
		}
		var err error
		if r.c, err = readConfig(inputs{flags: f, env: s.env, args: given}); err != nil {
			return err
		}
		return r.run(cmd.Context())
	}
	return cmd
}

// run rewraps, and says what came of it.
func (r *rekeying) run(ctx context.Context) (err error) {
	begun := time.Now()
	r.c.s3.StateDir, r.c.s3.ReadOnly = "", r.dry
	r.c.s3.Require = s3io.RequireOff // what is rewritten comes under the policy
	r.c.s3.Envelope.PassForeign, r.c.s3.Envelope.WriteOnly = false, false
	if len(r.from) == 0 {
		r.c.s3.Envelope.AllowKeyIDs = nil // only what this command line says
	}
	if err := hideMemory(); err != nil {
		r.warn(err.Error())
	}
	closeKeys, err := r.c.openKeyCache(r.warn)
	if err != nil {
		return err
	}
	defer closeKeys()
	if r.bucket, err = s3io.Open(ctx, r.c.s3); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close(ctx)) }()
	if _, err := r.bucket.Probe(ctx); err != nil {
		return err
	}
	for _, text := range r.bucket.Warnings() {
		r.warn(text)
	}
	r.to = r.bucket.EnvelopeKeys()[0]
	r.result = rekeyResult{Source: r.c.source.String(), To: r.to, DryRun: r.dry, ForeignURLs: []string{}, Failures: []string{}}
	r.show = newLive(r.s.err)
	err = r.walk(ctx)
	r.show.end()
	r.result.KMS = newKMSUsage(r.calls(), 0)
	if r.asJSON {
		err = errors.Join(err, printJSON(r.s.out, r.result))
	} else {
		err = errors.Join(err, r.result.print(r.s.out, time.Since(begun)))
	}
	if err == nil && r.result.Failed > 0 {
		return fmt.Errorf("%d objects could not be moved to %s; see above, repair the cause and run the command again", r.result.Failed, r.to)
	}
	return err
}

// warn says what is not as it should be.
func (r *rekeying) warn(text string) { say(r.s.err, "kmsfs: warning: %s", text) }

// print prints the result for people.
func (n rekeyResult) print(w io.Writer, took time.Duration) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	now := "rewrapped"
	if n.DryRun {
		now = "to be rewrapped"
	}
	row("objects", "%s, of them %s envelope objects", humanize.Comma(n.Objects), humanize.Comma(n.Sealed))
	row("data keys", "%s: %s %s, %s rewrapped before, %s under the new key from the start", humanize.Comma(n.DataKeys),
		humanize.Comma(n.Rewrapped), now, humanize.Comma(n.Kept), humanize.Comma(n.Already))
	row("not sealed", "%s objects, which stay as they are", humanize.Comma(n.Foreign))
	row("failed", "%s objects", humanize.Comma(n.Failed))
	if n.Materialized > 0 {
		row("rewritten", "%s objects", humanize.Comma(n.Materialized))
	}
	row("KMS calls", "%s; $%.6f at $%.2f per 10,000 (check the current list)", countsText(n.KMS.Calls), n.KMS.USD, kmsPrice)
	row("took", "%s", took.Round(10*time.Millisecond))
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, n.next())
	return err
}

// next says what remains to be done.
func (n rekeyResult) next() string {
	if n.DryRun {
		return "\nNothing was changed. Run it without --dry-run to do it.\n"
	}
	return strings.ReplaceAll(`
What remains to be done:
  1. Mount with --envelope-key-id NEW from now on.
  2. When no mount writes under an old key any more, run this command again: it
     must find nothing to rewrap.
  3. Then the old keys can be disabled. Older versions of objects are opened as
     long as a current object has the same data key: kmsfs rekey looks at current
     versions only. Keep .kmsfs/rewrap/, also in copies of the bucket.
`, "NEW", n.To)
}
