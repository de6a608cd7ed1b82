package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/s3io"
)

// sealed is a world whose bucket is used in envelope mode.
type sealed struct {
	*world
	key, other string // ARNs of the sandbox's keys
	raw        *s3io.Bucket
}

// bound is what objects of these tests are bound to.
const bound = "arn:aws:s3:::" + sandbox.Bucket

func newSealed(t *testing.T) *sealed {
	t.Helper()
	w := &sealed{world: newWorld(t)}
	w.key, w.other = w.server.KMS.KeyARN(sandbox.KeyAlias), w.server.KMS.KeyARN(sandbox.OtherAlias)
	kept := w.env[:0]
	for _, e := range w.env {
		if !strings.HasPrefix(e, "KMSFS_SSE_") {
			kept = append(kept, e)
		}
	}
	w.env = kept
	for _, e := range w.server.Env() { // for the clients of the test itself
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	var err error
	w.raw, err = s3io.Open(t.Context(), s3io.Options{Bucket: sandbox.Bucket, Prefix: "p/", PathStyle: true, Policy: s3io.Policy{Mode: s3io.ModeS3}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.raw.Close(t.Context()) })
	if _, err := w.raw.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// keyring returns one whose objects come under the keys.
func (w *sealed) keyring(keys ...string) *crypto.Keyring {
	w.t.Helper()
	clients, err := s3io.KMSClients(w.t.Context(), s3io.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	o := crypto.KeyringOptions{Bucket: bound, Context: map[string]string{"team": "a"}}
	for _, arn := range keys {
		o.Keys = append(o.Keys, crypto.Key{ARN: arn, Region: arnField(arn, 3)})
	}
	k, err := crypto.NewKeyring(clients, o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(k.Close)
	return k
}

// seal returns a message of plain under the keys, with a data key of its own.
func (w *sealed) seal(plain string, keys ...string) []byte {
	w.t.Helper()
	return w.sealWith(w.keyring(keys...), plain)
}

// sealWith returns a message of plain.
func (w *sealed) sealWith(k *crypto.Keyring, plain string) []byte {
	w.t.Helper()
	s, err := k.Seal(w.t.Context(), "p/x")
	if err != nil {
		w.t.Fatal(err)
	}
	message := bytes.Clone(s.Header().Bytes())
	run := s.Run(1, int64(len(plain)/crypto.FrameSize)+1)
	rest := []byte(plain)
	for ; len(rest) >= crypto.FrameSize; rest = rest[crypto.FrameSize:] {
		message = run.Seal(message, bytes.Clone(rest[:crypto.FrameSize]))
	}
	return run.SealFinal(message, rest)
}

// file writes content to a file outside of the mount.
func (w *sealed) file(name string, content []byte) string {
	w.t.Helper()
	path := filepath.Join(filepath.Dir(w.dir), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// put stores an object below p/ as it is.
func (w *sealed) put(key string, content []byte) {
	w.t.Helper()
	if _, err := w.raw.Put(w.t.Context(), key, bytes.NewReader(content), int64(len(content)), s3io.Attrs{}, s3io.Condition{}); err != nil {
		w.t.Fatal(err)
	}
}

// get returns an object below p/ as it is.
func (w *sealed) get(key string) []byte {
	w.t.Helper()
	o, err := w.raw.Head(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := w.raw.Get(w.t.Context(), o, 0, -1)
	if err != nil {
		w.t.Fatal(err)
	}
	defer body.Close()
	content, err := io.ReadAll(body)
	if err != nil {
		w.t.Fatal(err)
	}
	return content
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// wantRead checks the content of a file on the mount.
func (w *sealed) wantRead(name, want string) {
	w.t.Helper()
	got, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil || string(got) != want {
		w.t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
	}
}
