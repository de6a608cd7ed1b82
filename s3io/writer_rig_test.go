package s3io

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// A rig is a bucket of a sandbox, for tests of writers. At the test's end it
// holds no upload, and the writers no memory, spool or journal entry.
type rig struct {
	server *sandbox.Server
	b      *Bucket
	frames map[nonce][32]byte // what was seen sealed under each
}

// A mode is how content is encrypted.
type mode bool

// The modes: by S3, or before it is sent.
const (
	inS3  mode = false
	ahead mode = true
)

// inBoth runs f in both modes.
func inBoth(t *testing.T, f func(*testing.T, mode)) {
	t.Run("sse", func(t *testing.T) { f(t, inS3) })
	t.Run("envelope", func(t *testing.T) { f(t, ahead) })
}

// rig is newRig in mode m.
func (m mode) rig(t testing.TB, o Options) *rig {
	t.Helper()
	if m == ahead && o.Envelope == nil {
		o.Envelope = &Envelope{KeyIDs: []string{sandbox.KeyAlias}}
	}
	return newRig(t, o)
}

func newRig(t testing.TB, o Options) *rig {
	t.Helper()
	server, err := sandbox.Start(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	for _, env := range server.Env() {
		name, value, _ := strings.Cut(env, "=")
		t.Setenv(name, value)
	}
	o.Bucket, o.Region, o.PathStyle = sandbox.Bucket, sandbox.Region, true
	o.Endpoint, o.KMSEndpoint = server.URL(), server.KMSURL()
	if o.Envelope == nil {
		o.Policy.KeyID = sandbox.KeyAlias
	}
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	if o.SpoolDir == "" {
		o.SpoolDir = t.TempDir()
	}
	if o.SpoolSize == 0 {
		o.SpoolSize = 1 << 30
	}
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{server: server, b: b, frames: map[nonce][32]byte{}}
	t.Cleanup(func() { r.close(t) })
	if _, err := b.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Log.Reset()
	return r
}

// close ends the bucket and checks that nothing is left behind.
func (r *rig) close(t testing.TB) {
	t.Helper()
	r.server.Faults.Clear()
	r.b.writes.wait()
	ctx := context.WithoutCancel(t.Context())
	left, err := r.b.s3.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: aws.String(sandbox.Bucket)})
	if err != nil {
		t.Error(err)
	} else if n := len(left.Uploads); n != 0 {
		t.Errorf("%d uploads left behind", n)
	}
	w := r.b.writes
	for _, mem := range []*budget{w.mem, w.joint} {
		if n, _ := mem.inUse(); n != 0 || mem.leaving != 0 {
			t.Errorf("%d bytes of memory in use, %d leaving", n, mem.leaving)
		}
	}
	if n := w.spool.inUse(); n != 0 || w.spool.leaving != 0 {
		t.Errorf("%d slots of the spool in use, %d leaving", n, w.spool.leaving)
	}
	if n := len(r.b.journal.open); n != 0 {
		t.Errorf("%d uploads in the journal", n)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := r.b.Close(ctx); err != nil {
		t.Error(err)
	}
}

// content returns what key holds, past all of our own reading.
func (r *rig) content(t require, key string) ([]byte, bool) {
	t.Helper()
	p, ok := r.stored(key)
	if ok && r.b.seals(key) {
		p = r.opened(t, key, p)
	}
	return p, ok
}

// stored returns the object of that key as it is.
func (r *rig) stored(key string) ([]byte, bool) {
	out, err := r.b.s3.GetObject(context.Background(), &s3.GetObjectInput{Bucket: aws.String(sandbox.Bucket), Key: &key})
	if err != nil {
		return nil, false
	}
	defer out.Body.Close()
	p, err := io.ReadAll(out.Body)
	return p, err == nil
}

// fromBase is what a Writer reads its base with.
func (r *rig) fromBase(base Object, p []byte, off int64) error {
	reader := r.b.NewReader(base)
	defer reader.Close()
	_, err := reader.ReadAt(context.Background(), p, off)
	return err
}

// meta returns the user metadata of key.
func (r *rig) meta(key string) map[string]string {
	out, err := r.b.s3.HeadObject(context.Background(), &s3.HeadObjectInput{Bucket: aws.String(sandbox.Bucket), Key: &key})
	if err != nil {
		return nil
	}
	return out.Metadata
}

// put stores an object as somebody else would.
func (r *rig) put(t testing.TB, key string, p []byte) Object {
	t.Helper()
	o, err := r.b.Put(t.Context(), key, bytes.NewReader(p), int64(len(p)), Attrs{Meta: map[string]string{"mode": "0"}}, Condition{})
	if err != nil {
		t.Fatal(err)
	}
	r.server.Log.Reset()
	return o
}

func (r *rig) count(op string) int { return r.server.Log.Count(op) }

// A hold is a request that hangs until it is released.
type hold struct {
	reached chan struct{}
	release func()
}

func (r *rig) hold(t testing.TB, op string) *hold {
	rule := r.server.Faults.Add(wire.Fault{Op: op, Kind: wire.Hang, Times: 1})
	h := &hold{reached: make(chan struct{}), release: rule.Release}
	go func() {
		defer close(h.reached)
		waitFor(t, func() bool { return rule.Hits() > 0 })
	}()
	return h
}
