package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// sealedPrefix is where the demo uses envelope mode.
const sealedPrefix = "sealed/"

// seal mounts a part of the bucket in envelope mode, writes the small files
// there, and opens one of them without the mount.
func (d *demo) seal(ctx context.Context) (string, error) {
	if err := umount(ctx, d.s, d.dir, false); err != nil {
		return "", err
	}
	before := d.kmsCalls()
	source := "s3://" + sandbox.Bucket + "/" + sealedPrefix
	if err := d.mountFrom(ctx, source, "--envelope-key-id="+sandbox.OtherAlias); err != nil {
		return "", err
	}
	if _, err := d.callsFor(ctx, "envelope"); err != nil {
		return "", err
	}
	calls := d.kmsCalls() - before
	letter := []byte("For nobody's eyes but ours: " + rand.Text() + "\n")
	if err := os.WriteFile(filepath.Join(d.dir, "letter"), letter, 0o644); err != nil {
		return "", err
	}
	stored, err := inspectPath(ctx, filepath.Join(d.dir, "letter"), "")
	if err != nil {
		return "", err
	}
	if stored.Envelope == nil {
		return "", fmt.Errorf("%s is not sealed", stored.URL)
	}
	fmt.Fprintf(d.s.out, "       a letter of %d bytes is an object of %d: %s\n", stored.Size, stored.Envelope.Stored, stored.Envelope.Format)
	opened, err := d.command(ctx, "decrypt", source+"letter", "--path-style", "--quiet")
	if err != nil {
		return "", err
	}
	if !bytes.Equal(opened, letter) {
		return "", fmt.Errorf("kmsfs decrypt gave %q, not the letter", opened)
	}
	fmt.Fprintln(d.s.out, "       kmsfs decrypt opens it without the mount, as any AWS Encryption SDK does")
	return fmt.Sprintf("%d KMS calls for %d files that left this machine encrypted", calls, smallFiles), nil
}

// kmsCalls returns how many requests for data keys KMS had, from whomever.
func (d *demo) kmsCalls() int {
	return d.server.Log.Count("GenerateDataKey") + d.server.Log.Count("Decrypt")
}

// command runs another command of this program on the sandbox and returns what
// it prints.
func (d *demo) command(ctx context.Context, args ...string) ([]byte, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the kmsfs binary: %w; run it by its full path", err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(withoutSettings(d.s.env), d.server.Env()...)
	cmd.Stderr = d.s.err
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("kmsfs %s: %w", args[0], err)
	}
	return out, nil
}
