package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/kmsfs/kmsfs/internal/ctl"
	"github.com/kmsfs/kmsfs/s3io"
)

// kmsPrice is what AWS asks for 10,000 KMS requests, in US dollars
// (https://aws.amazon.com/kms/pricing/). It differs by region and may change.
const kmsPrice = 0.03

// statistics is what a mount has done since it began.
type statistics struct {
	Source  string    `json:"source"`
	Dir     string    `json:"dir"`
	Since   time.Time `json:"since"`
	S3      s3Figures `json:"s3"`
	KMS     *kmsUsage `json:"kms,omitempty"` // absent where content is not sealed: S3 asks KMS itself then
	Waiting []string  `json:"waiting"`       // what is not in S3 yet
	Process taken     `json:"process"`
}

// taken is what the mount's process takes of the machine now.
type taken struct {
	Goroutines  int    `json:"goroutines"`
	Descriptors int    `json:"descriptors"` // open ones; 0 where the system does not say
	Heap        uint64 `json:"heap"`        // bytes of live and of unswept objects
	Buffers     int64  `json:"buffers"`     // bytes of --memory in use, outside of the heap
	Spool       int64  `json:"spool"`       // bytes of --spool-size in use
}

// s3Figures are s3io's counters.
type s3Figures struct {
	Requests            map[string]int64 `json:"requests"` // by operation
	BytesSent           int64            `json:"bytes_sent"`
	BytesReceived       int64            `json:"bytes_received"`
	Objects             int64            `json:"objects_created"`
	BucketKeyMismatches int64            `json:"bucket_key_mismatches"`
	Unverified          int64            `json:"unverified_answers"`
	Conflicts           int64            `json:"conflicts"`
}

// kmsUsage is what was asked of KMS, what was not, and the price of both.
type kmsUsage struct {
	Calls    map[string]int64 `json:"calls"` // by operation
	Saved    int64            `json:"saved"`
	USD      float64          `json:"usd"`
	USDSaved float64          `json:"usd_saved"`
	Failed   int64            `json:"failed"`
	Outage   bool             `json:"outage"` // the latest call was not answered
}

// newKMSUsage adds the prices.
func newKMSUsage(calls map[string]int64, saved int64) *kmsUsage {
	return &kmsUsage{Calls: calls, Saved: saved, USD: dollars(total(calls)), USDSaved: dollars(saved)}
}

// dollars is the price of so many KMS requests.
func dollars(requests int64) float64 { return float64(requests) * kmsPrice / 10_000 }

func total(counts map[string]int64) (sum int64) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

func newStats(s std) *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:   "stats DIR",
		Short: "Show what a running mount has done: requests, bytes, KMS calls and their price",
		Long: `Show what the mount on DIR has done since it was mounted: S3 requests and bytes,
objects, answers that did not prove the encryption, the KMS calls of envelope
mode, those that its data keys saved, and the price of both; and what its
process takes now.`,
		Example: `  kmsfs stats /mnt/backup
  kmsfs stats /mnt/backup --watch
  kmsfs stats /mnt/backup --json`,
		Args: between(1, 1, "the directory of a mount"),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "machine-readable output")
	cmd.Flags().BoolVar(&watch, "watch", false, "show it anew every second until interrupted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		show := printStatistics
		if asJSON {
			show = func(w io.Writer, now statistics) error { return printJSON(w, now) }
		}
		if watch {
			return watchStatistics(cmd.Context(), s, args[0], show)
		}
		now, err := statisticsOf(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show(s.out, now)
	}
	return cmd
}

// statisticsOf asks the mount on dir.
func statisticsOf(ctx context.Context, dir string) (now statistics, err error) {
	e, err := ask(ctx, dir, ctl.Request{Op: ctl.OpStats}, nil)
	if err != nil {
		return now, err
	}
	if err := json.Unmarshal(e.Result, &now); err != nil {
		return now, fmt.Errorf("understand the mount's answer: %w; use the same version for both", err)
	}
	return now, nil
}

// watchStatistics shows every second what changed, until interrupted.
func watchStatistics(ctx context.Context, s std, dir string, show func(io.Writer, statistics) error) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		now, err := statisticsOf(ctx, dir)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if isTerminal(s.out) {
			fmt.Fprint(s.out, "\x1b[H\x1b[2J")
		}
		if err := show(s.out, now); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// statistics returns what the mount did until now.
func (m *server) statistics() statistics {
	n := m.bucket.Stats()
	now := statistics{
		Source: m.c.source.String(), Dir: m.c.dir, Since: m.since, Waiting: append([]string{}, m.tree.Pending()...),
		S3: s3Figures{
			Requests: n.Requests, BytesSent: n.BytesSent, BytesReceived: n.BytesReceived,
			Objects: n.Objects, BucketKeyMismatches: n.BucketKeyMismatches, Unverified: n.Unverified, Conflicts: n.Conflicts,
		},
	}
	if m.c.s3.Envelope != nil {
		now.KMS = newKMSUsage(n.Keys.Calls, n.Keys.Saved)
		now.KMS.Failed, now.KMS.Outage = n.Keys.Failed, n.Keys.Outage
	}
	now.Process = taken{Goroutines: runtime.NumGoroutine(), Descriptors: descriptors(), Heap: heap(), Buffers: n.Buffered, Spool: n.Spooled}
	return now
}

// descriptors counts the open files and connections of this process, without
// the one that it takes to count them.
func descriptors() int {
	names, err := os.ReadDir("/dev/fd")
	if err != nil {
		return 0
	}
	return len(names) - 1
}

// heap returns the bytes of objects on Go's heap, without stopping the world as
// runtime.ReadMemStats does.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// printStatistics prints now for people.
func printStatistics(w io.Writer, now statistics) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, s3io.Printable(fmt.Sprintf(format, args...)))
	}
	row("mount", "%s on %s, since %s", now.Source, now.Dir, now.Since.Format(time.DateTime))
	row("S3 requests", "%s", countsText(now.S3.Requests))
	row("sent", "%s", humanize.IBytes(uint64(now.S3.BytesSent)))
	row("received", "%s", humanize.IBytes(uint64(now.S3.BytesReceived)))
	row("objects created", "%s", humanize.Comma(now.S3.Objects))
	row("bucket keys", "%s objects with another than --bucket-key says", humanize.Comma(now.S3.BucketKeyMismatches))
	row("conflicts", "%s changes by others that --on-conflict dealt with", humanize.Comma(now.S3.Conflicts))
	row("unverified", "%s answers that did not prove the encryption", humanize.Comma(now.S3.Unverified))
	if now.KMS == nil {
		row("KMS calls", "made by S3, not by this mount")
	} else {
		row("KMS calls", "%s; $%.6f", countsText(now.KMS.Calls), now.KMS.USD)
		row("KMS calls saved", "%s; $%.6f", humanize.Comma(now.KMS.Saved), now.KMS.USDSaved)
		row("", "at $%.2f per 10,000 (check the current list)", kmsPrice)
		row("KMS calls failed", "%s%s", humanize.Comma(now.KMS.Failed), map[bool]string{true: "; KMS does not answer now"}[now.KMS.Outage])
	}
	row("process", "%d goroutines, %d open files, heap %s, buffers %s, spool %s", now.Process.Goroutines, now.Process.Descriptors,
		humanize.IBytes(now.Process.Heap), humanize.IBytes(uint64(now.Process.Buffers)), humanize.IBytes(uint64(now.Process.Spool)))
	for i, line := range now.Waiting {
		row([]string{"saving", ""}[min(i, 1)], "%s", line)
	}
	return t.Flush()
}

// countsText lists counts, the largest first.
func countsText(counts map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	if len(names) == 0 {
		return "0"
	}
	for i, name := range names {
		names[i] = name + " " + humanize.Comma(counts[name])
	}
	return humanize.Comma(total(counts)) + ": " + strings.Join(names, ", ")
}
