package harness

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// Mode is how the mounts of a Server encrypt.
type Mode string

// The modes. A new Server is in mode SSE.
const (
	SSE      Mode = "sse"
	Envelope Mode = "envelope"
	Both     Mode = "both"
)

// vault is what opens and seals objects for the independent client.
type vault struct {
	box  *sandbox.Server // of KMS
	ring *crypto.Keyring // opens whatever is under a key of box
}

// In has further mounts encrypt in that mode, under a KMS key that SSE does not
// use. Get opens and Put seals from now on. A third-party server gets the
// sandbox's KMS beside it.
func (s *Server) In(t testing.TB, m Mode) *Server {
	t.Helper()
	s.Mode = m
	switch m {
	case SSE:
		return s
	case Envelope, Both:
	default:
		t.Fatalf("there is no mode %q", m)
	}
	box := s.Sandbox
	if box == nil {
		var err error
		if box, err = sandbox.Start(sandbox.Options{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { box.Close() })
		box.AddIdentity(wire.Identity{AccessKey: s.access, SecretKey: s.secret, ARN: sandbox.UserARN})
		// Not by a flag: the server's own keys are not to be looked for there.
		s.env = append(s.env, "AWS_ENDPOINT_URL_KMS="+box.KMSURL())
	} else if m == Envelope {
		box.S3.Expect(nil)
	}
	s.EnvelopeKey = box.KMS.KeyARN(sandbox.OtherAlias)
	s.vault = &vault{box: box}
	s.vault.ring = s.Keyring(t, s.EnvelopeKey, crypto.KeyringOptions{AnyKey: true, AnyContext: true})
	return s
}

// KMS returns the sandbox whose KMS the mounts ask.
func (s *Server) KMS() *sandbox.Server { return s.vault.box }

// Keyring returns a keyring that seals under a KMS key, for the server's bucket
// unless o says other, until the end of the test.
func (s *Server) Keyring(t testing.TB, keyARN string, o crypto.KeyringOptions) *crypto.Keyring {
	t.Helper()
	through := s.httpClient(t)
	client := func(region string) crypto.KMS { return s.kmsOf(through, region, s.access, s.secret) }
	if o.Bucket == "" {
		o.Bucket = "arn:aws:s3:::" + s.Bucket
	}
	key, err := crypto.ResolveKey(context.Background(), client(sandbox.Region), keyARN, "")
	Must(t, err)
	o.Keys = []crypto.Key{key}
	ring, err := crypto.NewKeyring(client, o)
	Must(t, err)
	t.Cleanup(ring.Close)
	return ring
}

// KMSAs returns a client of the mounts' KMS that is somebody else.
func (s *Server) KMSAs(t testing.TB, id wire.Identity) *kms.Client {
	t.Helper()
	s.vault.box.AddIdentity(id)
	return s.kmsOf(s.httpClient(t), sandbox.Region, id.AccessKey, id.SecretKey)
}

func (s *Server) kmsOf(client *http.Client, region, access, secret string) *kms.Client {
	return crypto.NewKMS(aws.Config{
		Region: region, HTTPClient: client, Credentials: credentials.NewStaticCredentialsProvider(access, secret, ""),
	}, s.vault.box.KMSURL())
}

// Seal returns an envelope object of plain for the key, made by ring.
func (s *Server) Seal(t testing.TB, ring *crypto.Keyring, key string, plain []byte) []byte {
	t.Helper()
	sealer, err := ring.Seal(context.Background(), s.Prefix+key)
	Must(t, err)
	out := append(make([]byte, 0, crypto.SealedSize(int64(len(plain)))), sealer.Header().Bytes()...)
	run := sealer.Run(1, int64(len(plain)/crypto.FrameSize)+1)
	for ; len(plain) >= crypto.FrameSize; plain = plain[crypto.FrameSize:] {
		out = run.Seal(out, plain[:crypto.FrameSize])
	}
	return run.SealFinal(out, plain)
}

// Open returns the content of an envelope object.
func (s *Server) Open(t testing.TB, key string, sealed []byte) []byte {
	t.Helper()
	plain, err := readAll(crypto.NewReader(bytes.NewReader(sealed), func(h *crypto.Header) (*crypto.Opener, error) {
		return s.vault.ring.Open(context.Background(), h, s.Prefix+key)
	}), int64(len(sealed)))
	if err != nil {
		t.Fatalf("open %s: %v", key, err)
	}
	return plain
}

// mustBeSealed fails unless the object is an envelope object under EnvelopeKey.
func (s *Server) mustBeSealed(t testing.TB, key string) {
	t.Helper()
	if strings.HasSuffix(key, "/") || strings.HasPrefix(key, ".kmsfs/") {
		return
	}
	h, err := crypto.ParseHeader(s.Raw(t, key, func(in *s3.GetObjectInput) { // the rest may be gigabytes
		in.Range = aws.String(fmt.Sprintf("bytes=0-%d", crypto.HeaderSize-1))
	}))
	switch {
	case err != nil:
		t.Errorf("%s is not sealed: %v", key, err)
	case len(h.EDKs) == 0 || h.EDKs[0].Info != s.EnvelopeKey:
		t.Errorf("%s is sealed under %v, want %s", key, h.EDKs, s.EnvelopeKey)
	}
}
