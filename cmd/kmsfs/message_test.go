package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

func TestInspectOfEnvelopeObjects(t *testing.T) {
	w := newSealed(t)
	message := w.seal(longText, w.key, w.other)
	w.put("a b", message)
	w.put("plain", []byte("x"))
	w.mount("--envelope-key-id="+sandbox.KeyAlias, "--read-only")
	path := filepath.Join(w.dir, "a b")
	for _, what := range []string{path, "s3://demo/p/a b"} {
		w.server.Log.Reset()
		var got inspected
		if err := json.Unmarshal([]byte(w.must("inspect", "--json", what)), &got); err != nil {
			t.Fatal(err)
		}
		e := got.Envelope
		if e == nil || got.URL != "s3://demo/p/a b" || got.Size != int64(len(longText)) || e.Stored != int64(len(message)) {
			t.Fatalf("%s: %+v, %+v", what, got, e)
		}
		if e.Frames != 3 || e.Spliced != 0 || len(e.Keys) != 2 || e.Keys[0] != w.key || e.Context["team"] != "a" || e.Verified != "no" || len(e.MessageID) != 64 {
			t.Errorf("%s: %+v", what, e)
		}
		if n := w.server.Log.Count("Decrypt"); n != 0 {
			t.Errorf("%s: KMS was asked", what)
		}
		for verify, says := range map[string]string{"--verify": "header: KMS opened", "--verify=full": "header and all frames"} {
			text := w.must("inspect", verify, what)
			for _, want := range []string{messageFormat, w.other, "aws:s3:arn=" + bound, "3 of up to 65536 bytes", says} {
				if !strings.Contains(text, want) {
					t.Errorf("%s: %q is missing in\n%s", what, want, text)
				}
			}
		}
	}
	w.want(w.run("inspect", filepath.Join(w.dir, "plain"), "--verify"), exitFailure, `no envelope object`)
	w.want(w.run("inspect", path, "--verify=all"), exitUsage, `"all" is unknown; use header or full`)

	// What is proven depends on how far one looks.
	message[crypto.FrameOffset(2)+50] ^= 1
	w.put("a b", message)
	for _, what := range []string{path, "s3://demo/p/a b"} {
		w.must("inspect", "--verify", what)
		w.want(w.run("inspect", "--verify=full", what), exitFailure, `authentication failed`)
	}
	w.must("umount", w.dir)
}
