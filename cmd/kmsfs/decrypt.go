package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/s3io"
)

// decryption is one message to be opened.
type decryption struct {
	s       std
	c       *config
	what    string   // FILE, "-" or s3://BUCKET/KEY
	prefix  string   // of the mount, where what is an object
	rewraps []string // files of the rewrap registry
	out     string   // "" is standard output
	force   bool
	quiet   bool

	rewrapped lookupRewrap
}

// lookupRewrap finds another EDK of the data key that old is one of.
type lookupRewrap func(ctx context.Context, old crypto.EDK) (crypto.EDK, bool, error)

func newDecrypt(s std) *cobra.Command {
	d := &decryption{s: s}
	cmd := &cobra.Command{
		Use:   "decrypt FILE|-|s3://BUCKET/KEY",
		Short: "Open an envelope object without a mount",
		Long: `Open an envelope object, or any framed message of the AWS Encryption SDK in
suite 0478, and write its content to standard output or to a file. Nothing but
the object and the right to kms:Decrypt is needed: the header names the KMS key
and its region. --allow-key-id restricts which keys KMS is asked for.

Every byte is authenticated before it is written. A file appears under its name
only when all of it was; standard output may have got the intact beginning of a
message that was changed or cut off, which the exit status 1 tells.

The data keys of objects whose KMS key was changed by kmsfs rekey are looked up
in the bucket below .kmsfs/rewrap/ (below --prefix, where a mount has one), or
in the file of there that --rewrap names.`,
		Example: `  kmsfs decrypt s3://backup/laptop/data.tar -o data.tar
  kmsfs decrypt data.tar.sealed | tar t
  aws s3 cp s3://backup/laptop/notes - | kmsfs decrypt - --quiet`,
		Args: between(1, 1, "a file, - for standard input, or s3://BUCKET/KEY"),
	}
	f := cmd.Flags()
	f.StringVarP(&d.out, "output", "o", "", "write to this file, which appears when all of it is authenticated")
	f.BoolVarP(&d.force, "force", "f", false, "replace the file")
	f.BoolVarP(&d.quiet, "quiet", "q", false, "do not say which key and context were used")
	f.StringArrayVar(&d.rewraps, "rewrap", nil, "file of the rewrap registry; repeatable")
	addPrefix(cmd, &d.prefix)
	addFlag(f, "allow-key-id")
	addFlag(f, "kms-grant-token")
	addFlags(f, connection)
	addFlag(f, "config")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		d.what = args[0]
		in := inputs{flags: f, env: s.env, loose: true}
		if d.c, err = readConfig(in); err != nil {
			return err
		}
		for _, key := range d.c.sealing.AllowKeyIDs {
			if !strings.HasPrefix(key, "arn:") || !strings.Contains(key, ":key/") {
				return &usageError{fmt.Errorf("--allow-key-id: %q is no ARN of a key; write it in full, as headers have it", key)}
			}
		}
		return d.run(cmd.Context(), in)
	}
	return cmd
}

// run opens the message and writes its content.
func (d *decryption) run(ctx context.Context, in inputs) error {
	if err := d.checkOut(); err != nil {
		return err
	}
	if err := hideMemory(); err != nil {
		d.warn(err.Error())
	}
	src, err := d.source(ctx, in)
	if err != nil {
		return err
	}
	defer src.Close()
	clients, err := s3io.KMSClients(ctx, d.c.s3)
	if err != nil {
		return err
	}
	keys, err := crypto.NewKeyring(clients, crypto.KeyringOptions{
		Allowed: d.c.sealing.AllowKeyIDs, AnyKey: len(d.c.sealing.AllowKeyIDs) == 0, AnyContext: true,
		GrantTokens: d.c.sealing.GrantTokens, Rewrapped: d.rewrapped, Warn: d.warn,
	})
	if err != nil {
		return err
	}
	defer keys.Close()
	plain := crypto.NewReader(&interruptible{ctx, src}, func(h *crypto.Header) (*crypto.Opener, error) {
		o, err := keys.Open(ctx, h, "")
		if err == nil && !d.quiet {
			d.tell(o.KMSKey(), h.Context())
		}
		return o, err
	})
	if d.out != "" {
		return d.toFile(ctx, plain)
	}
	n, err := io.Copy(d.s.out, plain)
	if err != nil && n > 0 {
		return fmt.Errorf("decrypt %s: %w; the %d bytes that were written are the intact beginning, and not all of it", d.what, err, n)
	}
	return d.explain(err)
}

// explain says what came to nothing.
func (d *decryption) explain(err error) error {
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, crypto.ErrForeign):
		return fmt.Errorf("decrypt %s: %w; only framed messages of suite 0478 can be opened", d.what, err)
	case errors.Is(err, crypto.ErrTampered):
		return fmt.Errorf("decrypt %s: %w; nothing was written: fetch the object anew, or restore an older version", d.what, err)
	}
	var hinted interface{ Hint() string }
	switch {
	case errors.As(err, &hinted):
		err = fmt.Errorf("%w; %s", err, hinted.Hint())
	case crypto.Passing(err):
		err = fmt.Errorf("%w; check the network and --kms-endpoint-url", err)
	}
	return fmt.Errorf("decrypt %s: %w", d.what, err)
}

// warn says what is not as it should be.
func (d *decryption) warn(text string) { say(d.s.err, "kmsfs: warning: %s", text) }

// tell says what the message was opened with.
func (d *decryption) tell(key string, context map[string]string) {
	pairs := "none"
	for i, name := range slices.Sorted(maps.Keys(context)) {
		pairs = [...]string{"", pairs + ", "}[min(i, 1)] + name + "=" + context[name]
	}
	say(d.s.err, "kmsfs: opened with KMS key %s, encryption context %s", key, pairs)
}

// source opens the sealed bytes, and sets where rewrapped keys are looked up.
func (d *decryption) source(ctx context.Context, in inputs) (io.ReadCloser, error) {
	entries, err := readRewraps(d.rewraps)
	if err != nil {
		return nil, err
	}
	d.rewrapped = entries
	if d.what == "-" {
		return io.NopCloser(d.s.in), nil
	}
	if !strings.HasPrefix(d.what, "s3://") {
		f, err := os.Open(d.what)
		if err != nil {
			return nil, fmt.Errorf("open the message: %w; give a file, - or s3://BUCKET/KEY", err)
		}
		return f, nil
	}
	b, key, err := openObject(ctx, in, d.what, d.prefix, nil)
	if err != nil {
		return nil, err
	}
	o, err := b.Head(ctx, key)
	if err != nil {
		return nil, errors.Join(err, b.Close(ctx))
	}
	d.rewrapped = func(ctx context.Context, old crypto.EDK) (crypto.EDK, bool, error) {
		if edk, ok, err := entries(ctx, old); ok || err != nil {
			return edk, ok, err
		}
		return b.Rewrapped(ctx, old)
	}
	return newContent(ctx, b.Bucket, o, func() error { return b.Close(ctx) }), nil
}

// readRewraps reads files of the rewrap registry. One that has another name
// than it had there is tried for every data key.
func readRewraps(files []string) (lookupRewrap, error) {
	entries := map[string]crypto.EDK{}
	var unnamed []crypto.EDK
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read --rewrap: %w", err)
		}
		edk, err := crypto.ParseRewrap(text)
		if err != nil {
			return nil, fmt.Errorf("read --rewrap %s: %w; give a file from .kmsfs/rewrap/", name, err)
		}
		entries[filepath.Base(name)] = edk
		unnamed = append(unnamed, edk)
	}
	return func(_ context.Context, old crypto.EDK) (crypto.EDK, bool, error) {
		if edk, ok := entries[crypto.RewrapName(old.Blob)]; ok {
			return edk, true, nil
		}
		if len(unnamed) == 1 {
			return unnamed[0], true, nil
		}
		return crypto.EDK{}, false, nil
	}, nil
}

// interruptible ends reading when its context does.
type interruptible struct {
	ctx context.Context
	io.Reader
}

func (r *interruptible) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
