package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kmsfs/kmsfs/s3io"
)

// config is what all settings together say. Only readConfig makes one, so
// that every command works with validated values.
type config struct {
	source source
	dir    string

	s3         s3io.Options
	sealing    sealing
	bucketKey  string            // on, off, inherit; "" where not given
	require    string            // one of requirements; "" where not given
	context    map[string]string // pairs of the encryption context
	onConflict string            // a name of conflictPolicies
	tree       tree
	run        process

	given map[string]string // name of a setting to where it was given
}

// tree is how the mount presents the bucket.
type tree struct {
	allowOther, allowRoot    bool
	uid, gid                 uint32
	fileMode, dirMode, umask uint32
	attrTTL                  time.Duration
	posixAttrs, xattrs       bool
	strictExcl               bool
	noExec                   bool // only after -o, as mount(8) has it
}

// shared reports whether users other than the one who mounts are to be let in.
func (t tree) shared() bool { return t.allowOther || t.allowRoot }

// process is how the mount's process runs.
type process struct {
	foreground       bool
	logLevel         *slog.LevelVar // can be changed while the mount runs
	logFormat        string
	logFile, pidFile string
	file             string // the configuration file
	timeout          time.Duration
	drainTimeout     time.Duration
	salvageDir       string // "" where there is no directory for it
}

// Deadlines that the settings timeout and drain-timeout change.
const (
	defaultTimeout = 90 * time.Second // s3io's deadline of lookups
	minTimeout     = time.Second
	defaultDrain   = 10 * time.Minute
)

// readAhead sets the largest read-ahead window: auto is 0 and off is negative.
func readAhead(c *config, v string) error {
	if err := size(func(c *config) *int64 { return &c.s3.ReadAhead }, 0, 1<<40, true)(c, v); err != nil {
		return err
	}
	if c.s3.ReadAhead == 0 && v != "auto" {
		c.s3.ReadAhead = -1
	}
	return nil
}

// readConfig joins what was given in all places and validates it. Its errors
// are wrong usage. Nothing but the configuration file is read.
func readConfig(in inputs) (*config, error) {
	values, err := in.resolve()
	if err != nil {
		return nil, &usageError{err}
	}
	c := &config{
		given:   map[string]string{},
		sealing: newSealing(), onConflict: "keep",
		tree: tree{uid: uint32(os.Getuid()), gid: uint32(os.Getgid()), fileMode: 0o644, dirMode: 0o755,
			attrTTL: time.Second, posixAttrs: true, xattrs: true, noExec: in.noExec},
		run: process{logLevel: new(slog.LevelVar), logFormat: "text", timeout: defaultTimeout, drainTimeout: defaultDrain},
	}
	c.s3.Memory = s3io.DefaultMemory
	for _, s := range settings() {
		v, ok := values[s.name]
		if !ok {
			continue
		}
		c.given[s.name] = v.from
		for _, text := range v.texts {
			if err := s.set(c, text); err != nil {
				return nil, &usageError{fmt.Errorf("%s: %w", v.from, err)}
			}
		}
	}
	if err := c.finish(in.loose); err != nil {
		return nil, &usageError{err}
	}
	return c, nil
}

// finish checks what settings say together and derives what depends on several.
func (c *config) finish(loose bool) error {
	if !loose {
		if err := c.finishEnvelope(); err != nil {
			return err
		}
		if err := c.finishPolicy(); err != nil {
			return err
		}
		if err := c.finishReading(); err != nil {
			return err
		}
	}
	if c.tree.allowOther && c.tree.allowRoot {
		return errors.New("--allow-root lets root in alone, --allow-other everybody; leave out one of the two")
	}
	if c.s3.PartSize > c.s3.SpoolSize && c.s3.SpoolSize > 0 && c.s3.PartSize > c.s3.Memory/8 {
		return errors.New("--part-size is larger than --spool-size, but parts over an eighth of --memory go to the spool; raise --spool-size or lower --part-size")
	}
	c.s3.TimeoutScale = c.run.timeout.Seconds() / defaultTimeout.Seconds()
	c.s3.OnConflict = conflictPolicies[c.onConflict]
	c.s3.Bucket, c.s3.Prefix = c.source.bucket, c.source.prefix()
	c.s3.StateDir = cmp.Or(c.s3.StateDir, defaultStateDir())
	if c.run.salvageDir == "" && c.s3.StateDir != "" {
		c.run.salvageDir = filepath.Join(c.s3.StateDir, "salvage")
	}
	return nil
}

// conflictPolicies are the words of the setting on-conflict.
var conflictPolicies = map[string]s3io.OnConflict{
	"keep": s3io.ConflictKeep, "fail": s3io.ConflictFail, "overwrite": s3io.ConflictOverwrite,
}

// finishPolicy is finish for what S3 encrypts.
func (c *config) finishPolicy() error {
	p, sealed := &c.s3.Policy, c.s3.Envelope != nil
	if p.Mode == "" && (!sealed || p.KeyID != "") {
		p.Mode = s3io.ModeKMS
	}
	kms := c.sseKMS()
	with := "--sse " + p.Mode
	if p.Mode == "" {
		with = "--" + envelopeKey + " unless --sse says aws:kms"
	}
	switch {
	case p.Mode == s3io.ModeNone && !sealed:
		return fmt.Errorf("%s: S3 is not to encrypt, so nothing would; add --%s, or use aws:kms", c.given["sse"], envelopeKey)
	case p.Mode == s3io.ModeDSSE && c.bucketKey == "on":
		return fmt.Errorf("%s: S3 has no bucket keys for aws:kms:dsse; leave out one of the two", c.given["bucket-key"])
	case !kms && c.bucketKey != "" && (!sealed || c.bucketKey == "inherit"):
		return fmt.Errorf("%s has no meaning with %s; leave out one of the two", c.given["bucket-key"], with)
	case !kms && len(c.context) > 0 && !sealed:
		return fmt.Errorf("%s has no meaning with %s; leave out one of the two", c.given["encryption-context"], with)
	case !kms && p.Mode != s3io.ModeBucketDefault && p.KeyID != "":
		return fmt.Errorf("%s has no meaning with %s; leave out one of the two", c.given["sse-kms-key-id"], with)
	case !kms:
		return nil
	}
	p.Context = c.context
	switch c.bucketKey { // not given is for s3io to decide
	case "on":
		p.BucketKey = s3io.BucketKeyOn
	case "off":
		p.BucketKey = s3io.BucketKeyOff
	case "inherit":
		p.BucketKey = s3io.BucketKeyInherit
	}
	return nil
}

// sseKMS reports whether S3 is to encrypt under a KMS key.
func (c *config) sseKMS() bool {
	return c.s3.Policy.Mode == s3io.ModeKMS || c.s3.Policy.Mode == s3io.ModeDSSE
}

// sse names what S3 is to do.
func (c *config) sse() string { return cmp.Or(c.s3.Policy.Mode, s3io.ModeBucketDefault) }

// defaultStateDir returns /var/lib/kmsfs for root, what XDG says for others.
func defaultStateDir() string {
	if dir := os.Getenv("STATE_DIRECTORY"); filepath.IsAbs(dir) { // set by systemd
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/lib/kmsfs"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "kmsfs")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "kmsfs")
	}
	return ""
}

// lookup returns the setting called name, with - or _ alike.
func lookup(name string) (setting, bool) {
	all := settings()
	i := slices.IndexFunc(all, func(s setting) bool { return s.name == canonical(name) })
	if i < 0 {
		return setting{}, false
	}
	return all[i], true
}
