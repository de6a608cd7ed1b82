package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmsfs/kmsfs/s3io"
)

// diagnosis is all that doctor says.
type diagnosis struct {
	Source    string     `json:"source"`
	OK        bool       `json:"ok"`
	Checks    []check    `json:"checks"`
	IAMPolicy *iamPolicy `json:"iam_policy,omitempty"`
	KeyPolicy *iamPolicy `json:"key_policy,omitempty"`
}

func newDoctor(s std) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor s3://BUCKET[/PREFIX] [flags]",
		Short: "Check everything that a mount needs, and say what is missing",
		Long: `Check credentials, bucket, region, key, permissions and this machine, by doing
what a mount does: an upload is begun and aborted, and one object below
.kmsfs/ is written, read and deleted. Prints the least IAM policy and the
statement that the key's policy needs. Exit status 1 if a mount would fail.`,
		Example: `  kmsfs doctor s3://backup/laptop --sse-kms-key-id alias/backup
  kmsfs doctor s3://backup/laptop --envelope-key-id alias/backup --write-only
  kmsfs doctor --json s3://backup --read-only`,
		Args: between(1, 1, "a bucket as s3://BUCKET[/PREFIX]"),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "machine-readable output")
	addFlags(cmd.Flags(), encryption, envelope, reading, connection, access)
	addFlag(cmd.Flags(), "config")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := readConfig(inputs{flags: cmd.Flags(), env: s.env, args: map[string][]string{"source": args}})
		if err != nil {
			return err
		}
		c.s3.StateDir = ""
		d := diagnose(cmd.Context(), c)
		if asJSON {
			err = printJSON(s.out, d)
		} else {
			err = printDiagnosis(s.out, d)
		}
		if err == nil && !d.OK {
			return errReported
		}
		return err
	}
	return cmd
}

// diagnose carries out all checks; those that need an earlier one are left out
// when that fails.
func diagnose(ctx context.Context, c *config) diagnosis {
	d := diagnosis{Source: c.source.String(), Checks: localChecks(c.tree.shared())}
	d.Checks = append(append(d.Checks, envelopeChecks(c)...), credentialsCheck(ctx, c))
	p := &patient{c: c}
	for _, step := range []struct {
		name  string
		check func(ctx context.Context, c *check) error
	}{
		{"bucket, region, key", p.open},
		{"list objects", p.list},
		{"envelope key", p.envelopeKey},
		{"encryption proven", p.probe},
		{"salvage", p.salvage},
		{"existing objects", p.existing},
		{"put object", p.put},
		{"get object", p.get},
		{"delete object", p.remove},
	} {
		found := check{Name: step.name, State: stateOK}
		err := step.check(ctx, &found)
		if errors.Is(err, errNotDone) {
			continue
		}
		if err != nil {
			found.State, found.Detail = stateFail, err.Error()
			found.Detail, found.Remedy = splitRemedy(err)
		}
		d.Checks = append(d.Checks, found)
		if step.name == "encryption proven" && err == nil {
			d.Checks = append(d.Checks, p.conditions()...)
		}
	}
	if p.bucket != nil {
		for _, w := range p.bucket.Warnings() {
			d.Checks = append(d.Checks, check{Name: "warning", State: stateWarn, Detail: w})
		}
		p.bucket.Close(ctx)
	}
	d.OK = true
	for _, found := range d.Checks {
		d.OK = d.OK && found.State != stateFail
	}
	d.IAMPolicy, d.KeyPolicy = leastPolicies(c, p.key(), p.sealed(), p.versioned())
	return d
}

// errNotDone leaves out a check that has no meaning here.
var errNotDone = errors.New("not done")

// patient is the bucket that is looked at, as far as it could be opened.
type patient struct {
	c       *config
	bucket  *s3io.Bucket // nil: could not be opened
	caps    s3io.Capabilities
	locked  bool // the envelope key cannot be used
	proven  bool
	object  s3io.Object // the probe object
	written bool
}

func (p *patient) open(ctx context.Context, found *check) error {
	b, err := s3io.Open(ctx, p.c.s3)
	if err != nil {
		return err
	}
	p.bucket = b
	found.Detail = p.c.source.String()
	if key := b.Key(); key != "" {
		found.Detail += ", key " + key
	}
	return nil
}

func (p *patient) list(ctx context.Context, found *check) error {
	if p.bucket == nil {
		return errNotDone
	}
	page, err := p.bucket.List(ctx, s3io.ListQuery{Max: 1})
	found.Detail = "s3:ListBucket is granted"
	if err == nil && len(page.Objects)+len(page.Prefixes) == 0 {
		found.Detail += "; there is nothing yet"
	}
	return err
}

func (p *patient) probe(ctx context.Context, found *check) error {
	if p.bucket == nil || p.c.s3.ReadOnly || p.locked {
		return errNotDone
	}
	var err error
	if p.caps, err = p.bucket.Probe(ctx); err != nil {
		return err
	}
	p.proven = true
	found.Detail = p.c.sse()
	if key := p.bucket.Key(); key != "" {
		found.Detail += " under " + key
	}
	return nil
}

// conditions says which guards against other writers the server honours.
func (p *patient) conditions() []check {
	var missing []string
	for _, c := range []struct {
		honoured bool
		name     string
	}{
		{p.caps.PutIfAbsent, "PutObject If-None-Match"}, {p.caps.PutIfMatch, "PutObject If-Match"},
		{p.caps.CompleteIfAbsent, "CompleteMultipartUpload If-None-Match"}, {p.caps.CompleteIfMatch, "CompleteMultipartUpload If-Match"},
		{p.caps.CopyIfMatch, "CopyObject source If-Match"}, {p.caps.DeleteIfMatch, "DeleteObject If-Match"},
	} {
		if !c.honoured {
			missing = append(missing, c.name)
		}
	}
	conditions := check{Name: "conditional requests", State: stateOK, Detail: "all honoured"}
	if len(missing) > 0 {
		conditions = check{Name: conditions.Name, State: stateWarn, Detail: "not honoured: " + strings.Join(missing, ", "),
			Remedy: "let only one host write below this prefix: there kmsfs looks first, which is not exact"}
	}
	versioning := check{Name: "versioning", State: stateOK, Detail: onOff(p.caps.Versioned)}
	return []check{conditions, versioning}
}

// probeText is the content of the probe object.
const probeText = "written by kmsfs doctor, which deletes it again\n"

func (p *patient) put(ctx context.Context, found *check) error {
	if !p.proven {
		return errNotDone
	}
	key := ".kmsfs/doctor-" + rand.Text()
	o, err := p.bucket.Put(ctx, key, strings.NewReader(probeText), int64(len(probeText)), s3io.Attrs{}, s3io.Condition{IfAbsent: true})
	if err != nil {
		return err
	}
	p.object, p.written = o, true
	found.Detail = "s3:PutObject" + p.and("kms:GenerateDataKey")
	return nil
}

func (p *patient) get(ctx context.Context, found *check) error {
	if !p.written || p.c.s3.Envelope != nil && p.c.s3.Envelope.WriteOnly {
		return errNotDone
	}
	body, err := p.bucket.Get(ctx, p.object, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	content, err := io.ReadAll(io.LimitReader(body, int64(len(probeText))+1))
	if err != nil {
		return fmt.Errorf("read the probe object: %w; check the network", err)
	}
	if !bytes.Equal(content, []byte(probeText)) {
		return errors.New("the probe object came back changed; do not use this server")
	}
	found.Detail = "s3:GetObject" + p.and("kms:Decrypt")
	return nil
}

func (p *patient) remove(ctx context.Context, found *check) error {
	if !p.written {
		return errNotDone
	}
	found.Detail = "s3:DeleteObject is granted"
	if p.object.VersionID == "" || !p.caps.Versioned {
		return p.bucket.Delete(ctx, p.object)
	}
	err := p.bucket.DeleteVersion(ctx, p.object.Key, p.object.VersionID)
	if s3io.KindOf(err) != s3io.Permission {
		found.Detail += ", s3:DeleteObjectVersion too"
		return err
	}
	found.State = stateWarn
	found.Detail = "s3:DeleteObjectVersion is not granted, so a version of the probe object remains"
	found.Remedy = "grant it, if what is stored wrongly shall be removed for good"
	return p.bucket.Delete(ctx, p.object)
}

// key returns the ARN of the key, or what is known of it.
func (p *patient) key() string {
	if p.bucket != nil && p.bucket.Key() != "" {
		return p.bucket.Key()
	}
	return p.c.s3.Policy.KeyID
}

// sealed returns the ARNs of the envelope keys, or what is known of them.
func (p *patient) sealed() []string {
	switch {
	case p.c.s3.Envelope == nil:
		return nil
	case p.bucket != nil:
		return p.bucket.EnvelopeKeys()
	}
	return p.c.s3.Envelope.KeyIDs
}

// and ends the sentence that something is granted, with the KMS action that S3
// needs as well, as far as it asks KMS.
func (p *patient) and(action string) string {
	if p.bucket.Key() == "" {
		return " is granted"
	}
	return " and " + action + " are granted"
}

// versioned says whether the bucket may have versions.
func (p *patient) versioned() bool { return !p.proven || p.caps.Versioned }

// splitRemedy takes an error apart at the remedy that ends it.
func splitRemedy(err error) (detail, remedy string) {
	var e *s3io.Error
	text := err.Error()
	if errors.As(err, &e) && e.Hint != "" {
		if i := strings.LastIndex(text, "; "+e.Hint); i >= 0 {
			return text[:i], e.Hint
		}
	}
	if i := strings.LastIndex(text, "; "); i >= 0 {
		return text[:i], text[i+2:]
	}
	return text, ""
}

// printDiagnosis prints d for people.
func printDiagnosis(w io.Writer, d diagnosis) error {
	if err := printChecks(w, d.Checks); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nLeast IAM policy for the user or role that mounts:")
	if err := printJSON(w, d.IAMPolicy); err != nil {
		return err
	}
	if d.KeyPolicy == nil {
		return nil
	}
	fmt.Fprintln(w, "\nStatements for the policies of the keys (needed across accounts, or where the key does not delegate to IAM):")
	return printJSON(w, d.KeyPolicy)
}
