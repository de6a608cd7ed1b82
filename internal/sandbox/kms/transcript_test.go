package kms

import (
	"encoding/base64"
	"net/http/httptest"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire/wiretest"
)

// TestTranscripts holds the answers against the examples of AWS's documentation.
func TestTranscripts(t *testing.T) {
	b := newBench(t, Options{})
	server := httptest.NewServer(b.Server)
	t.Cleanup(server.Close)
	key := b.create(t, KeyOptions{Alias: "alias/Existing"})
	blob, err := seal(b.state.Keys[key].current(), nil, []byte("some plaintext of a good length"))
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{
		"key": b.state.Keys[key].id(), "keyARN": key, "other": b.create(t, KeyOptions{}), "doomed": b.create(t, KeyOptions{}),
		"blob": base64.StdEncoding.EncodeToString(blob),
	}
	all := map[string]wiretest.Transcript{}
	for _, tr := range wiretest.Load(t, "testdata/*.http") {
		all[tr.Name] = tr
	}
	replay := func(name string) {
		tr, ok := all[name]
		if !ok {
			t.Fatalf("no transcript %s", name)
		}
		delete(all, name)
		to := wiretest.Target{URL: server.URL, Client: server.Client(), Service: "kms", Region: "us-east-1", As: alice()}
		tr.Check(t, tr.Expand(vars).Send(t.Context(), t, to))
	}
	replay("schedule-key-deletion") // before it is cancelled
	replay("cancel-key-deletion")
	replay("disable-key")
	replay("enable-key")
	for name := range all {
		replay(name)
	}
}
