package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// longText is content of somewhat more than two frames.
var longText = strings.Repeat("0123456789abcdef", 9000)

func TestDecryptFromEverywhere(t *testing.T) {
	w := newSealed(t)
	message := w.seal(longText, w.key)
	file := w.file("x.sealed", message)
	w.put("dir/x", message)
	for _, args := range [][]string{{file}, {"-"}, {"s3://demo/p/dir/x"}, {"s3://demo/p/dir/x", "--prefix=p"}, {file, "--allow-key-id=" + w.key}} {
		cmd := w.command(append([]string{"decrypt"}, args...)...)
		cmd.Stdin = bytes.NewReader(message)
		got := w.wait(cmd)
		w.want(got, exitOK, `^kmsfs: opened with KMS key `+w.key+`, encryption context aws:s3:arn=`+bound+`, team=a\n$`)
		if got.out != longText {
			t.Errorf("%q: %d bytes, want %d", args, len(got.out), len(longText))
		}
	}
	for _, plain := range []string{"", "x", strings.Repeat("f", crypto.FrameSize)} {
		got := w.run("decrypt", "--quiet", w.file("y", w.seal(plain, w.other, w.key)))
		w.want(got, exitOK, `^$`)
		if got.out != plain {
			t.Errorf("%d bytes, want %d", len(got.out), len(plain))
		}
	}
}

func TestDecryptToAFile(t *testing.T) {
	w := newSealed(t)
	file := w.file("x.sealed", w.seal(longText, w.key))
	dir := t.TempDir()
	out := filepath.Join(dir, "x")
	check := func() {
		t.Helper()
		got, err := os.ReadFile(out)
		if err != nil || string(got) != longText {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if all, _ := os.ReadDir(dir); len(all) != 1 {
			t.Errorf("%v is left", all)
		}
	}
	w.must("decrypt", file, "-o", out)
	check()
	w.want(w.run("decrypt", file, "--output="+out), exitFailure, `it exists; give another name, or replace it with --force`)
	if err := os.WriteFile(out, []byte("older"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.must("decrypt", file, "-f", "-o", out)
	check()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(out, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{link, dir, "/dev/null"} {
		w.want(w.run("decrypt", file, "--force", "-o", name), exitFailure, `no regular file`)
	}
	w.want(w.run("decrypt", file, "-o", "/absent/x"), exitFailure, `choose a directory that you can write to`)
	if got := w.must("decrypt", file, "-o", "-"); got != longText {
		t.Errorf("%d bytes on standard output", len(got))
	}
}

// TestDecryptOfWhatWasChanged flips, cuts and adds.
func TestDecryptOfWhatWasChanged(t *testing.T) {
	w := newSealed(t)
	message := w.seal(longText, w.key)
	flip := func(at int64) []byte {
		b := bytes.Clone(message)
		b[at] ^= 1
		return b
	}
	for _, test := range []struct {
		name   string
		sealed []byte
		frames int // that come out
		want   string
	}{
		{"header", flip(crypto.HeaderSize - 1), 0, `authentication failed.*; nothing was written: fetch the object anew`},
		{"first frame", flip(crypto.FrameOffset(1) + 100), 0, `nothing was written`},
		{"second frame", flip(crypto.FrameOffset(2) + 100), 1, `the 65536 bytes that were written are the intact beginning, and not all of it`},
		{"last byte", flip(int64(len(message)) - 1), 2, `not all of it`},
		{"cut between frames", message[:crypto.FrameOffset(3)], 2, `cut off.*not all of it`},
		{"cut in the header", message[:500], 0, `not an envelope object`},
		{"longer", append(bytes.Clone(message), 'x'), -1, `not all of it`},
		{"nothing", nil, 0, `not an envelope object.*only framed messages of suite 0478 can be opened`},
		{"plain", []byte(longText), 0, `only framed messages of suite 0478`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := *w.world
			w.t = t
			file := filepath.Join(t.TempDir(), "x")
			if err := os.WriteFile(file, test.sealed, 0o600); err != nil {
				t.Fatal(err)
			}
			got := w.run("decrypt", "--quiet", file)
			w.want(got, exitFailure, test.want)
			want := longText
			if test.frames >= 0 {
				want = longText[:test.frames*crypto.FrameSize]
			}
			if got.out != want {
				t.Errorf("%d bytes came out, want %d", len(got.out), len(want))
			}
			dir := t.TempDir()
			if got := w.run("decrypt", file, "-o", filepath.Join(dir, "out")); got.code != exitFailure {
				t.Errorf("to a file: exit %d", got.code)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("%v is left", left)
			}
		})
	}
}

func TestDecryptAsksOnlyForAllowedKeys(t *testing.T) {
	w := newSealed(t)
	file := w.file("x", w.seal("x", w.key))
	w.server.Log.Reset()
	w.want(w.run("decrypt", file, "--allow-key-id="+w.other), exitFailure, `--allow-key-id`)
	if n := w.server.Log.Count("Decrypt"); n != 0 {
		t.Errorf("%d requests to KMS", n)
	}
	w.want(w.run("decrypt", file, "--allow-key-id=alias/kmsfs-demo"), exitUsage, `is no ARN of a key; write it in full`)
	w.want(w.run("decrypt", file, "--kms-endpoint-url=http://127.0.0.1:1"), exitFailure, `connection refused; check the network and --kms-endpoint-url\n$`)
	undo := w.server.Denials.Add(wire.Denial{Action: "kms:Decrypt"})
	w.want(w.run("decrypt", file), exitFailure, `kms:Decrypt`)
	undo()
	if err := w.server.KMS.Disable(w.key); err != nil {
		t.Fatal(err)
	}
	w.want(w.run("decrypt", file), exitFailure, `disabled`)
	// One of two keys is enough.
	if err := w.server.KMS.Enable(w.key); err != nil {
		t.Fatal(err)
	}
	both := w.file("y", w.seal("y", w.key, w.other))
	w.want(w.run("decrypt", both), exitOK, `with KMS key `+w.key+`,`)
	if err := w.server.KMS.Disable(w.key); err != nil {
		t.Fatal(err)
	}
	w.want(w.run("decrypt", both), exitOK, `with KMS key `+w.other+`,`)
}

func TestDecryptOfRewrappedObjects(t *testing.T) {
	w := newSealed(t)
	message := w.seal("secret", w.key)
	h, err := crypto.ParseHeader(message)
	if err != nil {
		t.Fatal(err)
	}
	entry, ok, err := w.keyring(w.key).Rewrap(t.Context(), h, "p/x", w.other)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := w.server.KMS.Disable(w.key); err != nil {
		t.Fatal(err)
	}
	file := w.file("x", message)
	w.put("x", message)
	json := crypto.EncodeRewrap(entry.New)
	for _, name := range []string{entry.Name(), "renamed.json"} {
		if got := w.must("decrypt", file, "--rewrap="+w.file(name, json)); got != "secret" {
			t.Errorf("%s: %q", name, got)
		}
	}
	w.want(w.run("decrypt", "s3://demo/p/x", "--prefix=p/"), exitFailure, `disabled`)
	w.put(".kmsfs/rewrap/"+entry.Name(), json)
	got := w.run("decrypt", "s3://demo/p/x", "--prefix=p")
	if w.want(got, exitOK, `with KMS key `+w.other+`,`); got.out != "secret" {
		t.Errorf("%q", got.out)
	}
	w.want(w.run("decrypt", "s3://demo/p/x"), exitFailure, `disabled`) // looked up below the bucket's root
	w.want(w.run("decrypt", "s3://demo/p/x", "--prefix=q"), exitUsage, `does not lie below --prefix q/; give the prefix that the mount has`)
	w.want(w.run("decrypt", file, "--rewrap="+file), exitFailure, `give a file from .kmsfs/rewrap/`)
	w.want(w.run("decrypt", "s3://"+sandbox.Bucket), exitUsage, `names no object`)
	w.want(w.run("decrypt", "/absent"), exitFailure, `no such file`)
}
