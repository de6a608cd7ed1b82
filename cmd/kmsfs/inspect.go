package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/kmsfs/kmsfs/internal/ctl"
	"github.com/kmsfs/kmsfs/s3io"
)

// inspected is what inspect says about one object.
type inspected struct {
	URL          string            `json:"url"`
	Mode         string            `json:"sse"`
	KMSKey       string            `json:"kms_key,omitempty"`
	BucketKey    bool              `json:"bucket_key"`
	Size         int64             `json:"size"`
	ETag         string            `json:"etag"`
	Version      string            `json:"version,omitempty"`
	Modified     time.Time         `json:"modified"`
	StorageClass string            `json:"storage_class,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"`
}

func newInspect(s std) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect PATH|s3://BUCKET/KEY",
		Short: "Show how one object is encrypted",
		Long: `Show how one object is encrypted, as S3 answers now: the mode, the KMS key, the
bucket key, and what kmsfs keeps in its metadata. A PATH on a mount is looked
up with the mount's own credentials.`,
		Example: `  kmsfs inspect /mnt/backup/data.tar
  kmsfs inspect --json s3://backup/laptop/data.tar`,
		Args: between(1, 1, "a path on a mount, or s3://BUCKET/KEY"),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "machine-readable output")
	addFlags(cmd.Flags(), connection)
	addFlag(cmd.Flags(), "config")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		found, err := inspect(cmd.Context(), s, args[0], inputs{flags: cmd.Flags(), env: s.env})
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(s.out, found)
		}
		return printInspected(s.out, found)
	}
	return cmd
}

// inspect looks the object up through its mount, or in the bucket.
func inspect(ctx context.Context, s std, what string, in inputs) (inspected, error) {
	if !strings.HasPrefix(what, "s3://") {
		return inspectPath(ctx, what)
	}
	in.args = map[string][]string{"source": {what}}
	c, err := readConfig(in)
	if err != nil {
		return inspected{}, err
	}
	if c.source.key == "" {
		return inspected{}, &usageError{fmt.Errorf("%s names no object; write s3://BUCKET/KEY", what)}
	}
	c.s3.Prefix, c.s3.ReadOnly, c.s3.StateDir = "", true, ""
	c.s3.Policy = s3io.Policy{Mode: s3io.ModeS3} // any policy: nothing is written, no key is needed
	b, err := s3io.Open(ctx, c.s3)
	if err != nil {
		return inspected{}, err
	}
	defer b.Close(ctx)
	return inspectObject(ctx, b, "s3://"+c.source.bucket+"/", c.source.key)
}

// inspectPath asks the mount in which path lies.
func inspectPath(ctx context.Context, path string) (inspected, error) {
	dir, below, err := mountOf(path)
	if err != nil {
		return inspected{}, err
	}
	e, err := ctl.Call(ctx, dir, ctl.Request{Op: ctl.OpInspect, Key: below}, nil)
	if err != nil {
		return inspected{}, fmt.Errorf("inspect %s: %w; run the command as the user that mounted %s", path, err, dir)
	}
	if e.Error != "" {
		return inspected{}, errors.New(e.Error)
	}
	var found inspected
	if err := json.Unmarshal(e.Result, &found); err != nil {
		return inspected{}, fmt.Errorf("understand the mount's answer: %w; use the same version for both", err)
	}
	return found, nil
}

// inspectObject asks S3 about the key below the URL root. A key without an object may be a directory's marker.
func inspectObject(ctx context.Context, b *s3io.Bucket, root, key string) (inspected, error) {
	o, err := b.Head(ctx, key)
	if s3io.KindOf(err) == s3io.NotExist && !strings.HasSuffix(key, "/") {
		o, err = b.Head(ctx, key+"/")
	}
	if s3io.KindOf(err) == s3io.NotExist {
		return inspected{}, fmt.Errorf("there is no object for %q in the bucket: a file is one when it has been closed, and a directory may have none; check the name", key)
	}
	if err != nil {
		return inspected{}, err
	}
	return inspected{
		URL: root + o.Key, Mode: o.Encryption.Algorithm, KMSKey: o.Encryption.KeyID, BucketKey: o.Encryption.BucketKey,
		Size: o.Size, ETag: o.ETag, Version: o.VersionID, Modified: o.LastModified.UTC(), StorageClass: o.StorageClass, Metadata: o.Meta,
	}, nil
}

// printInspected prints found for people.
func printInspected(w io.Writer, found inspected) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, text string) {
		if text != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, text)
		}
	}
	mode := found.Mode
	if mode == "" {
		mode = "NONE: stored without server-side encryption"
	}
	row("object", found.URL)
	row("encryption", mode)
	row("KMS key", found.KMSKey)
	if strings.HasPrefix(found.Mode, s3io.ModeKMS) {
		row("bucket key", onOff(found.BucketKey))
		row("context", "not disclosed by S3")
	}
	row("size", fmt.Sprintf("%d (%s)", found.Size, humanize.IBytes(uint64(found.Size))))
	row("ETag", found.ETag)
	row("version", found.Version)
	row("modified", found.Modified.Format(time.RFC3339))
	row("storage class", found.StorageClass)
	for _, name := range slices.Sorted(maps.Keys(found.Metadata)) {
		row("metadata "+name, found.Metadata[name])
	}
	return t.Flush()
}

// onOff is how the settings spell b.
func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// printJSON prints v for machines.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
