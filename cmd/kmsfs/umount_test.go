package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

func TestUmountSaysWhatItWaitsFor(t *testing.T) {
	w := newWorld(t)
	w.mount()
	hang := w.server.Faults.Add(wire.Fault{Kind: wire.Hang, Op: "PutObject"})
	written := make(chan error, 1)
	go func() { written <- w.write("slow.tar", "data") }()
	w.eventually("the upload began", func() bool { return hang.Hits() > 0 })

	cmd := w.command("umount", w.dir)
	var said syncBuffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.eventually("umount names the file", func() bool {
		return strings.Contains(said.String(), "saving: ") && strings.Contains(said.String(), "slow.tar")
	})
	w.wantMounted(true)
	hang.Remove()
	if err := <-written; err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("umount: %v: %s", err, said.String())
	}
	w.wantMounted(false)
}

func TestUmountKeepsTheMountWhenSomethingCannotBeSaved(t *testing.T) {
	w := newWorld(t)
	w.mount("--timeout=2s")
	w.mustWrite("kept", "data")
	refuse := w.server.Faults.Add(wire.Fault{Kind: wire.Answer, Op: "CopyObject", Status: 403, Code: "AccessDenied"})
	if err := os.Chmod(filepath.Join(w.dir, "kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.want(w.run("umount", w.dir), exitFailure, `(?s)kept.*is still mounted.*--force`)
	w.wantMounted(true)
	refuse.Remove()
	w.must("umount", w.dir)
	w.wantMounted(false)
}

func TestUmountByForceSaysWhatWasLost(t *testing.T) {
	w := newWorld(t)
	w.mount("--timeout=2s")
	w.mustWrite("kept", "data")
	w.server.Faults.Add(wire.Fault{Kind: wire.Answer, Op: "CopyObject", Status: 403, Code: "AccessDenied"})
	if err := os.Chmod(filepath.Join(w.dir, "kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.want(w.run("umount", "--force", w.dir), exitFailure, `(?s)not saved: .*kept.*was lost`)
	w.wantMounted(false)
}

func TestUmountNamesWhoUsesTheMount(t *testing.T) {
	w := newWorld(t)
	w.mount()
	w.mustWrite("open", "data")
	f, err := os.Open(filepath.Join(w.dir, "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w.want(w.run("umount", w.dir), exitFailure, `(?s)in use: .*\(process \d+\): .*/open\n.*still mounted: in use; .*--force`)
	w.wantMounted(true)
	w.want(w.run("umount", "--force", w.dir), exitOK, ``)
	w.wantMounted(false)
}

func TestUmountOfWhatIsNoMount(t *testing.T) {
	w := newWorld(t)
	w.want(w.run("umount", w.dir), exitFailure, `nothing is mounted there`)
	w.want(w.run("umount", "/proc"), exitFailure, `not a kmsfs mount but proc; use umount\(8\)`)
	w.want(w.run("umount", "/absent/dir"), exitFailure, `no such file`)
}

func TestInspect(t *testing.T) {
	w := newWorld(t)
	w.mount("--bucket-key=off")
	w.mustWrite("a b", "data")
	if err := os.Mkdir(filepath.Join(w.dir, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	key := w.server.KMS.KeyARN("alias/kmsfs-demo")
	for _, what := range []string{filepath.Join(w.dir, "a b"), "s3://demo/p/a b"} {
		var got inspected
		if err := json.Unmarshal([]byte(w.must("inspect", "--json", what)), &got); err != nil {
			t.Fatal(err)
		}
		if got.URL != "s3://demo/p/a b" || got.Mode != "aws:kms" || got.KMSKey != key || got.BucketKey || got.Size != 4 || got.ETag == "" {
			t.Errorf("%s: %+v", what, got)
		}
		text := w.must("inspect", what)
		for _, want := range []string{"aws:kms", key, "not disclosed", "4 B"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is missing in\n%s", what, want, text)
			}
		}
	}
	if text := w.must("inspect", filepath.Join(w.dir, "dir")); !strings.Contains(text, "s3://demo/p/dir/") {
		t.Errorf("directory:\n%s", text)
	}
	w.want(w.run("inspect", filepath.Join(w.dir, "absent")), exitFailure, `there is no object`)
	w.want(w.run("inspect", "/usr/bin"), exitFailure, `not on a kmsfs mount; give a path below one`)
	w.must("umount", w.dir)
}

func TestDoctor(t *testing.T) {
	w := newWorld(t)
	text := w.must("doctor", "s3://demo/p")
	for _, want := range []string{"access key kmsfs", "under arn:aws:kms:", `"s3:PutObject"`, "arn:aws:s3:::demo/p/*", "kms:ViaService"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "fail") {
		t.Errorf("something failed:\n%s", text)
	}
	for deny, name := range map[string]string{
		"s3:ListBucket": "bucket", "s3:PutObject": "encryption proven", "s3:DeleteObject*": "encryption proven",
		"s3:GetObject*": "encryption proven", "kms:GenerateDataKey": "encryption proven",
	} {
		undo := w.server.Denials.Add(wire.Denial{Action: deny})
		got := w.run("doctor", "--json", "s3://demo/p")
		undo()
		var d diagnosis
		if err := json.Unmarshal([]byte(got.out), &d); err != nil {
			t.Fatalf("%v: %s %s", err, got.out, got.err)
		}
		found := false
		for _, c := range d.Checks {
			found = found || c.State == stateFail && strings.HasPrefix(c.Name, name) && c.Remedy != ""
		}
		if got.code != exitFailure || d.OK || !found {
			t.Errorf("without %s: exit %d, %+v", deny, got.code, d.Checks)
		}
	}
	// It cleans up after itself: only the run that may not delete leaves its object.
	if got := w.run("doctor", "s3://demo/p", "--sse=bucket-default", "--sse-kms-key-id="); got.code == exitUsage {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
}

// syncBuffer is a buffer that may be read while a command writes to it.
type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
