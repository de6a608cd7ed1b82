package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// TestWhatWouldBeRefused has inspect and doctor say so of an object that another
// program stored under no KMS key.
func TestWhatWouldBeRefused(t *testing.T) {
	w := newSealed(t)
	w.put("weak", []byte("x"))
	key, other := "--sse-kms-key-id="+sandbox.KeyAlias, "--allow-key-id="+w.other
	w.mount(key)
	path := filepath.Join(w.dir, "weak")
	for what, want := range map[string]bool{path: true, "s3://demo/p/weak": false} {
		var got inspected
		if err := json.Unmarshal([]byte(w.must("inspect", "--json", what)), &got); err != nil {
			t.Fatal(err)
		}
		if refused := strings.Contains(got.Refused, "AES256"); refused != want {
			t.Errorf("%s: %q", what, got.Refused)
		}
	}
	if text := w.must("inspect", path); !strings.Contains(text, "--require-encryption warn") {
		t.Errorf("the remedy is missing in\n%s", text)
	}
	w.must("umount", w.dir)
	for flag, want := range map[string]string{"--require-encryption=enforce": stateWarn, "--require-encryption=off": stateOK} {
		var d diagnosis
		if err := json.Unmarshal([]byte(w.must("doctor", "--json", "s3://demo/p", key, other, flag)), &d); err != nil {
			t.Fatal(err)
		}
		if c := d.find("existing objects"); c.State != want || want == stateWarn && !strings.Contains(c.Detail+c.Remedy, "1 of the first 1") {
			t.Errorf("%s: %+v", flag, c)
		}
		if diff := cmp.Diff(map[string][]string{w.key: {"kms:Decrypt", "kms:GenerateDataKey"}, w.other: {"kms:Decrypt"}}, granted(d.IAMPolicy)); diff != "" {
			t.Errorf("%s: actions (-want +got):\n%s", flag, diff)
		}
	}
}
