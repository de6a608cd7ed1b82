package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
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
	Refused      string            `json:"refused,omitempty"` // why the mount does not read it; only with a path
	Size         int64             `json:"size"`              // of the content
	ETag         string            `json:"etag"`
	Version      string            `json:"version,omitempty"`
	Modified     time.Time         `json:"modified"`
	StorageClass string            `json:"storage_class,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"`
	Envelope     *inspectedMessage `json:"envelope,omitempty"` // absent where the content is not sealed
}

func newInspect(s std) *cobra.Command {
	var asJSON bool
	var prefix, verify string
	cmd := &cobra.Command{
		Use:   "inspect PATH|s3://BUCKET/KEY",
		Short: "Show how one object is encrypted",
		Long: `Show how one object is encrypted, as S3 answers now: the mode, the KMS key, the
bucket key, and what kmsfs keeps in its metadata; of an envelope object also
what its header says: the KMS keys, the encryption context, the frames. A PATH
on a mount is looked up with the mount's own credentials. KMS is not asked, and
nothing is proven, unless --verify wants it: that opens the header, and with
--verify=full every frame.`,
		Example: `  kmsfs inspect /mnt/backup/data.tar
  kmsfs inspect --verify=full /mnt/backup/data.tar
  kmsfs inspect --json s3://backup/laptop/data.tar`,
		Args: between(1, 1, "a path on a mount, or s3://BUCKET/KEY"),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "machine-readable output")
	cmd.Flags().StringVar(&verify, "verify", "", "have KMS open an envelope object: header, or full for all its frames")
	cmd.Flags().Lookup("verify").NoOptDefVal = verifyHeader
	addPrefix(cmd, &prefix)
	addFlags(cmd.Flags(), connection)
	addFlag(cmd.Flags(), "config")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if verify != "" && verify != verifyHeader && verify != verifyFull {
			return &usageError{fmt.Errorf("--verify: %q is unknown; use %s or %s", verify, verifyHeader, verifyFull)}
		}
		look := inspectPath
		if strings.HasPrefix(args[0], "s3://") {
			look = func(ctx context.Context, url, verify string) (inspected, error) {
				return inspectURL(ctx, inputs{flags: cmd.Flags(), env: s.env}, url, prefix, verify)
			}
		}
		found, err := look(cmd.Context(), args[0], verify)
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

// inspectURL looks the object up in its bucket.
func inspectURL(ctx context.Context, in inputs, url, prefix, verify string) (inspected, error) {
	b, key, err := openObject(ctx, in, url, prefix, &s3io.Envelope{Any: true})
	if err != nil {
		return inspected{}, err
	}
	defer b.Close(ctx)
	return inspectObject(ctx, b.Bucket, b.root, key, verify)
}

// inspectPath asks the mount in which path lies.
func inspectPath(ctx context.Context, path, verify string) (inspected, error) {
	dir, below, err := mountOf(path)
	if err != nil {
		return inspected{}, err
	}
	e, err := ask(ctx, dir, ctl.Request{Op: ctl.OpInspect, Key: below, Verify: verify}, nil)
	if err != nil {
		return inspected{}, fmt.Errorf("inspect %s: %w", path, err)
	}
	var found inspected
	if err := json.Unmarshal(e.Result, &found); err != nil {
		return inspected{}, fmt.Errorf("understand the mount's answer: %w; use the same version for both", err)
	}
	return found, nil
}

// inspectObject asks S3 about the key below the URL root. A key without an
// object may be a directory's marker.
func inspectObject(ctx context.Context, b *s3io.Bucket, root, key, verify string) (inspected, error) {
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
	found := inspected{
		URL: root + o.Key, Mode: o.Encryption.Algorithm, KMSKey: o.Encryption.KeyID, BucketKey: o.Encryption.BucketKey,
		Size: o.Size, ETag: o.ETag, Version: o.VersionID, Modified: o.LastModified.UTC(), StorageClass: o.StorageClass, Metadata: o.Meta,
	}
	if err := b.Readable(ctx, o); s3io.KindOf(err) == s3io.KeyRejected {
		found.Refused = err.Error()
	}
	if o.Form == s3io.Sealed {
		found.Envelope, err = inspectMessage(ctx, b, o, verify)
	} else if verify != "" {
		err = fmt.Errorf("verify %s: it is no envelope object, so there is nothing to prove; leave --verify out", found.URL)
	}
	return found, err
}

// printInspected prints found for people.
func printInspected(w io.Writer, found inspected) error {
	row, end := table(w)
	mode := found.Mode
	if mode == "" && found.Envelope != nil {
		mode = "none by S3: only the envelope"
	} else if mode == "" {
		mode = "NONE: stored without server-side encryption"
	}
	row("object", found.URL)
	if e := found.Envelope; e != nil {
		e.print(row)
		row("S3 encryption", mode)
	} else {
		row("encryption", mode)
	}
	row("KMS key", found.KMSKey)
	if strings.HasPrefix(found.Mode, s3io.ModeKMS) {
		row("bucket key", onOff(found.BucketKey))
		row("context", "not disclosed by S3")
	}
	row("refused", found.Refused)
	row("size", bytesText(found.Size))
	row("ETag", found.ETag)
	row("version", found.Version)
	row("modified", found.Modified.Format(time.RFC3339))
	row("storage class", found.StorageClass)
	for _, name := range slices.Sorted(maps.Keys(found.Metadata)) {
		row("metadata "+name, found.Metadata[name])
	}
	return end()
}

// bytesText is a size, exact and readable.
func bytesText(n int64) string { return fmt.Sprintf("%d (%s)", n, humanize.IBytes(uint64(n))) }

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
