package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

func TestFlushKeysMakesARevocationBite(t *testing.T) {
	w := newSealed(t)
	shared := w.keyring(w.key)
	for _, name := range []string{"a", "b"} {
		w.put(name, w.sealWith(shared, name))
	}
	w.mount("--envelope-key-id="+sandbox.KeyAlias, "--read-only")
	w.wantRead("a", "a")
	if err := w.server.KMS.Disable(w.key); err != nil {
		t.Fatal(err)
	}
	w.wantRead("b", "b") // its data key is that of a
	w.must("ctl", w.dir, "flush-keys")
	if _, err := os.ReadFile(filepath.Join(w.dir, "b")); err == nil {
		t.Error("b can still be read")
	}
	w.must("umount", w.dir)
	w.mount("--sse-kms-key-id=" + sandbox.OtherAlias)
	w.want(w.run("ctl", w.dir, "flush-keys"), exitFailure, `no data keys of its own`)
	w.must("umount", w.dir)
}

func TestWithoutTheCacheEveryOpenAsks(t *testing.T) {
	w := newSealed(t)
	shared := w.keyring(w.key)
	for _, name := range []string{"a", "b", "c"} {
		w.put(name, w.sealWith(shared, name))
	}
	for flag, every := range map[string]bool{"--key-cache=off": true, "--key-cache=on": false} {
		w.mount("--envelope-key-id="+sandbox.KeyAlias, "--read-only", flag)
		w.server.Log.Reset()
		for _, name := range []string{"a", "b", "c"} {
			w.wantRead(name, name)
		}
		if n := w.server.Log.Count("Decrypt"); every && n != 3 || !every && n != 1 {
			t.Errorf("%s: %d requests Decrypt for 3 files", flag, n)
		}
		w.must("umount", w.dir)
	}
}

func TestCtl(t *testing.T) {
	w := newWorld(t)
	w.mount()
	logged := func(text string) bool {
		all, err := os.ReadFile(w.log)
		return err == nil && bytes.Contains(all, []byte(text))
	}
	look := func() { os.Stat(filepath.Join(w.dir, "absent")) }
	w.must("ctl", w.dir, "log-level", "error")
	if logged("level changed") {
		t.Error("it logs below its level")
	}
	w.must("ctl", w.dir, "log-level", "debug")
	look()
	if !logged(`log level changed`) || !logged("level=DEBUG") {
		t.Error("it does not log from its level on")
	}
	w.must("ctl", w.dir, "drain")
	refuse := w.server.Faults.Add(wire.Fault{Kind: wire.Answer, Op: "CopyObject", Status: 403, Code: "AccessDenied"})
	w.mustWrite("kept", "data")
	if err := os.Chmod(filepath.Join(w.dir, "kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.want(w.run("ctl", w.dir, "drain"), exitFailure, `(?s)not saved: .*kept.*kmsfs: `)
	refuse.Remove()
	w.must("umount", w.dir)
	for args, want := range map[string]string{
		"log-level": `log-level takes debug or info`, "log-level loud": `log-level takes debug or info`, "explode": `"explode" is nothing that a mount can be told`,
		"drain now": `"drain now" is nothing`, "unmount": `is nothing that a mount can be told`,
	} {
		w.want(w.run(append([]string{"ctl", w.dir}, strings.Fields(args)...)...), exitUsage, want)
	}
	w.want(w.run("ctl", w.dir, "drain"), exitFailure, `no kmsfs process answers.*give the directory of a mount`)
	w.want(w.run("ctl", "/absent/mnt", "drain"), exitFailure, `give the directory of a mount`)
}

func TestStats(t *testing.T) {
	w := newSealed(t)
	shared := w.keyring(w.key)
	for _, name := range []string{"a", "b", "c"} {
		w.put(name, w.sealWith(shared, name))
	}
	w.mount("--envelope-key-id="+sandbox.KeyAlias, "--read-only")
	for _, name := range []string{"a", "b", "c"} {
		w.wantRead(name, name)
	}
	var now statistics
	if err := json.Unmarshal([]byte(w.must("stats", "--json", w.dir)), &now); err != nil {
		t.Fatal(err)
	}
	if now.Source != "s3://demo/p" || now.Dir != w.dir || now.S3.Requests["GetObject"] < 3 || now.S3.BytesReceived < 3*crypto.MinSealedSize {
		t.Errorf("%+v", now)
	}
	if now.KMS == nil || now.KMS.Calls["Decrypt"] != 1 || now.KMS.Saved != 2 || now.KMS.USDSaved != dollars(now.KMS.Saved) || now.Since.IsZero() {
		t.Errorf("%+v", now.KMS)
	}
	if p := now.Process; p.Goroutines < 2 || p.Descriptors < 5 || p.Heap == 0 || p.Buffers < 0 || p.Spool != 0 {
		t.Errorf("%+v", p)
	}
	text := w.must("stats", w.dir)
	for _, want := range []string{"GetObject ", "Decrypt 1", "KMS calls saved", "open files, heap ", "$0.03 per 10,000 (check the current list)", "0 answers that did not prove"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "does not answer") || now.KMS.Failed != 0 {
		t.Errorf("nothing failed, but it says\n%s", text)
	}
	var outage strings.Builder
	if err := printStatistics(&outage, statistics{KMS: &kmsUsage{Failed: 3, Outage: true}, Waiting: []string{"big: 2 parts", "b"}}); err != nil {
		t.Fatal(err)
	}
	if text := outage.String(); !strings.Contains(text, "3; KMS does not answer now\n") || !strings.Contains(text, "saving            big: 2 parts\n                  b\n") {
		t.Errorf("in an outage:\n%s", text)
	}
	cmd := w.command("stats", w.dir, "--watch")
	var out syncBuffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.eventually("it was shown twice", func() bool { return strings.Count(out.String(), "KMS calls saved") >= 2 })
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted: %v", err)
	}
	w.must("umount", w.dir)
	w.want(w.run("stats", w.dir), exitFailure, `no kmsfs process answers`)

	w.mount("--sse-kms-key-id=" + sandbox.OtherAlias)
	if text := w.must("stats", w.dir); !strings.Contains(text, "made by S3, not by this mount") {
		t.Errorf("without envelope mode:\n%s", text)
	}
	w.must("umount", w.dir)
}
