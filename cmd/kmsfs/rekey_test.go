package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/kms"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
	"github.com/kmsfs/kmsfs/s3io"
)

// rekeyed runs rekey to the sandbox's other key, and returns what it says.
func (w *sealed) rekeyed(code int, flags ...string) rekeyResult {
	w.t.Helper()
	got := w.run(append([]string{"rekey", "s3://demo/p", "--to=" + sandbox.OtherAlias, "--json"}, flags...)...)
	var n rekeyResult
	if err := json.Unmarshal([]byte(got.out), &n); err != nil || got.code != code {
		w.t.Fatalf("rekey %q: exit %d, want %d; %v: %s%s", flags, got.code, code, err, got.out, got.err)
	}
	if n.To != w.other {
		w.t.Errorf("moved to %s, want %s", n.To, w.other)
	}
	return n
}

// wantCounts compares objects, envelope objects, data keys, rewrapped now and
// before, under the new key, foreign, failed, rewritten.
func (w *sealed) wantCounts(n rekeyResult, want ...int64) {
	w.t.Helper()
	got := []int64{n.Objects, n.Sealed, n.DataKeys, n.Rewrapped, n.Kept, n.Already, n.Foreign, n.Failed, n.Materialized}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("counts (-want +got):\n%s\n%+v", diff, n)
	}
}

// objects returns what lies below p/, but for kmsfs's own.
func (w *sealed) objects() map[string][]byte {
	w.t.Helper()
	page, err := w.raw.List(w.t.Context(), s3io.ListQuery{})
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, o := range page.Objects {
		if !strings.HasPrefix(o.Key, reserved) {
			all[o.Key+" "+o.ETag] = w.get(o.Key)
		}
	}
	return all
}

// entries returns the rewrap registry.
func (w *sealed) entries() []s3io.Object {
	w.t.Helper()
	page, err := w.raw.List(w.t.Context(), s3io.ListQuery{Prefix: ".kmsfs/rewrap/"})
	if err != nil {
		w.t.Fatal(err)
	}
	return page.Objects
}

func TestRekeyMovesNoContent(t *testing.T) {
	w := newSealed(t)
	shared := w.keyring(w.key)
	for i := range 20 {
		w.put(fmt.Sprintf("dir/%d", i), w.sealWith(shared, fmt.Sprint("content ", i)))
	}
	w.put("own", w.seal("own key", w.key))
	w.put("new", w.seal("new key", w.other))
	w.put("both", w.seal("both keys", w.key, w.other))
	w.put("plain", []byte("plain text"))
	w.put("fits", bytes.Repeat([]byte("x"), 2000)) // the size of an envelope object
	w.put(".kmsfs/probe-x", []byte("ours"))
	before := w.objects()

	w.server.Log.Reset()
	w.wantCounts(w.rekeyed(exitOK, "--dry-run"), 25, 23, 4, 2, 0, 2, 2, 0, 0)
	for _, op := range []string{"ReEncrypt", "Decrypt", "GenerateDataKey", "PutObject", "CreateMultipartUpload"} {
		if n := w.server.Log.Count(op); n != 0 {
			t.Errorf("the dry run made %d requests %s", n, op)
		}
	}
	n := w.rekeyed(exitOK)
	w.wantCounts(n, 25, 23, 4, 2, 0, 2, 2, 0, 0)
	if got := w.server.Log.Count("ReEncrypt"); got != 2 || n.KMS.Calls["ReEncrypt"] != 2 {
		t.Errorf("%d requests ReEncrypt, said %d", got, n.KMS.Calls["ReEncrypt"])
	}
	if diff := cmp.Diff([]string{"s3://demo/p/fits", "s3://demo/p/plain"}, sorted(n.ForeignURLs)); diff != "" {
		t.Error(diff)
	}
	w.wantCounts(w.rekeyed(exitOK), 25, 23, 4, 0, 2, 2, 2, 0, 0)
	if got := w.server.Log.Count("ReEncrypt"); got != 2 {
		t.Errorf("the second run asked KMS %d times", got-2)
	}
	if diff := cmp.Diff(before, w.objects()); diff != "" {
		t.Errorf("objects changed:\n%s", diff)
	}

	if err := w.server.KMS.Disable(w.key); err != nil {
		t.Fatal(err)
	}
	w.mount("--envelope-key-id="+sandbox.OtherAlias, "--encryption-context=team=a")
	w.wantRead("dir/7", "content 7")
	w.wantRead("own", "own key")
	w.wantRead("both", "both keys")
	text := w.must("inspect", filepath.Join(w.dir, "own"))
	if !strings.Contains(text, w.key) || !strings.Contains(text, "under "+w.other) {
		t.Errorf("inspect says\n%s", text)
	}
	w.must("umount", w.dir)

	text = w.must("rekey", "s3://demo/p", "--to", w.other)
	for _, want := range []string{"not sealed: s3://demo/p/plain\n", "23 envelope objects", "2 rewrapped before", "--envelope-key-id " + w.other, "(check the current list)"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestRekeyGoesOnWhereItEnded(t *testing.T) {
	w := newSealed(t)
	for i := range 4 {
		w.put(fmt.Sprint(i), w.seal("x", w.key))
	}
	// One is refused, the answer about another is lost, and that to a stored entry.
	refuse := w.server.Faults.Add(wire.Fault{Kind: wire.Answer, Op: "ReEncrypt", Times: 1, Status: 400, Code: "AccessDeniedException"})
	w.server.Faults.Add(wire.Fault{Kind: wire.ResetAfter, Op: "ReEncrypt", Times: 1})
	w.server.Faults.Add(wire.Fault{Kind: wire.ResetAfter, Op: "PutObject", Times: 1})
	n := w.rekeyed(exitFailure)
	w.wantCounts(n, 4, 4, 4, 3, 0, 0, 0, 1, 0)
	if len(n.Failures) != 1 || !strings.Contains(n.Failures[0], "ReEncrypt") {
		t.Errorf("failures: %q", n.Failures)
	}
	refuse.Remove()
	w.wantCounts(w.rekeyed(exitOK), 4, 4, 4, 1, 3, 0, 0, 0, 0)

	// On to a third key: the old one is gone, so the entries are the source.
	third, err := w.server.KMS.CreateKey(kms.KeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.server.KMS.Disable(w.key); err != nil {
		t.Fatal(err)
	}
	w.want(w.run("rekey", "s3://demo/p", "--to", third, "--from", w.key, "--from", w.other), exitOK, ``)
	w.mount("--envelope-key-id="+third, "--encryption-context=team=a")
	w.wantRead("3", "x")
	w.must("umount", w.dir)
}

func TestRekeyIsInterrupted(t *testing.T) {
	w := newSealed(t)
	for i := range 4 {
		w.put(fmt.Sprint(i), w.seal("x", w.key))
	}
	hang := w.server.Faults.Add(wire.Fault{Kind: wire.Hang, Op: "ReEncrypt", Skip: 2})
	cmd := w.command("rekey", "s3://demo/p", "--to="+w.other)
	var said syncBuffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.eventually("one hangs and the others are stored", func() bool { return hang.Hits() > 0 && len(w.entries()) == 2 })
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err == nil || !strings.Contains(said.String(), "kmsfs: interrupted\n") {
		t.Errorf("%v: %s", err, said.String())
	}
	hang.Remove()
	n := w.rekeyed(exitOK)
	if n.Rewrapped != 2 || n.Kept != 2 {
		t.Errorf("%+v", n)
	}
}

func TestRekeyOfNames(t *testing.T) {
	w := newSealed(t)
	scope := "--context-scope=object"
	w.mount("--envelope-key-id="+sandbox.KeyAlias, scope)
	for _, name := range []string{"a", "b"} {
		w.mustWrite(name, name)
	}
	w.must("umount", w.dir)
	w.wantCounts(w.rekeyed(exitOK, scope), 2, 2, 2, 2, 0, 0, 0, 0, 0)
	if err := w.server.KMS.Disable(w.key); err != nil {
		t.Fatal(err)
	}
	w.mount("--envelope-key-id="+sandbox.OtherAlias, scope)
	w.wantRead("a", "a")
	w.must("umount", w.dir)
}

func TestRekeyLeavesWhatIsNotOurs(t *testing.T) {
	w := newSealed(t)
	foreign, err := w.server.KMS.CreateKey(kms.KeyOptions{Account: "444455556666",
		Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kms:*","Resource":"*"}]}`})
	if err != nil {
		t.Fatal(err)
	}
	w.put("planted", w.seal("x", foreign))
	w.put("mine", w.seal("x", w.key))
	w.server.Log.Reset()
	n := w.rekeyed(exitFailure)
	w.wantCounts(n, 2, 2, 2, 1, 0, 0, 0, 1, 0)
	if !strings.Contains(fmt.Sprint(n.Failures), "another account; name it with --from if it is yours") {
		t.Errorf("failures: %q", n.Failures)
	}
	for _, r := range w.server.Log.Requests() {
		if r.Service == "kms" && r.Key == foreign {
			t.Errorf("KMS was asked for the foreign key: %s", r.Op)
		}
	}
	// --from says exactly which keys.
	w.put("other", w.seal("y", w.key))
	third, err := w.server.KMS.CreateKey(kms.KeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.wantCounts(w.rekeyed(exitFailure, "--from="+third), 3, 3, 3, 0, 1, 0, 0, 2, 0)
	w.wantCounts(w.rekeyed(exitOK, "--from="+foreign, "--from="+sandbox.KeyAlias), 3, 3, 3, 2, 1, 0, 0, 0, 0)
	// So does the bucket that objects are bound to.
	w.want(w.run("rekey", "s3://demo/p", "--to="+third, "--context-bucket=elsewhere"), exitFailure, `3 objects could not be moved`)
	w.want(w.run("rekey", "s3://demo/p"), exitUsage, `--to is missing; name the new KMS key`)
	w.want(w.run("rekey", "s3://demo/p", "--to=alias/absent"), exitFailure, `alias/absent`)
}

func TestRekeyMaterializes(t *testing.T) {
	w := newSealed(t)
	settings := []string{"--encryption-context=team=a"}
	w.mount(append(settings, "--envelope-key-id="+sandbox.KeyAlias)...)
	large := strings.Repeat("0123456789abcdef", 1<<16)
	w.mustWrite("large", large)
	w.mustWrite("script", "#!/bin/sh\n")
	w.mustWrite("empty", "")
	dir := filepath.Join(w.dir, "dir")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(w.dir, "script"), dir} {
		if err := unix.Setxattr(name, "user.colour", []byte("blue"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(w.dir, "script"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.must("umount", w.dir)
	old := w.get("large")

	n := w.rekeyed(exitOK, append(settings, "--materialize")...)
	if n.Materialized != 4 || n.Failed != 0 {
		t.Errorf("%+v", n)
	}
	if bytes.Equal(old[:1024], w.get("large")[:1024]) {
		t.Error("the header is the old one")
	}
	again := w.rekeyed(exitOK, append(settings, "--materialize")...)
	if again.Materialized != 0 || again.Already != again.DataKeys {
		t.Errorf("again: %+v", again)
	}
	if err := w.server.KMS.Disable(w.key); err != nil {
		t.Fatal(err)
	}
	for _, o := range w.entries() { // are no longer needed
		if err := w.raw.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	w.mount(append(settings, "--envelope-key-id="+sandbox.OtherAlias)...)
	w.wantRead("large", large)
	w.wantRead("empty", "")
	for _, name := range []string{filepath.Join(w.dir, "script"), dir} {
		value := make([]byte, 16)
		if n, err := unix.Getxattr(name, "user.colour", value); err != nil || string(value[:n]) != "blue" {
			t.Errorf("%s: attribute %v", name, err)
		}
	}
	if info, err := os.Stat(filepath.Join(w.dir, "script")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	w.must("umount", w.dir)
}
