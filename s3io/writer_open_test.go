package s3io

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// require is what *testing.T and *rapid.T have in common.
type require interface {
	Helper()
	Fatalf(format string, args ...any)
}

// nonce is what must never be used for two different frames.
type nonce struct {
	id crypto.MessageID
	iv [12]byte
}

// opened returns the content of a sealed object, read by the letter of the
// format. No two frames that it ever saw have one nonce.
func (r *rig) opened(t require, key string, object []byte) []byte {
	t.Helper()
	h, err := crypto.ParseHeader(object)
	if err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	open, err := r.b.keys.Open(context.Background(), h, r.b.full(key))
	if err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	size, ok := crypto.PlainSize(int64(len(object)))
	if !ok {
		t.Fatalf("%q has %d bytes, which no sealed object has", key, len(object))
	}
	once := func(used nonce, what []byte) {
		sum := sha256.Sum256(what)
		if before, seen := r.frames[used]; seen && before != sum {
			t.Fatalf("%q: two headers or frames have one nonce", key)
		}
		r.frames[used] = sum
	}
	once(nonce{id: h.ID}, h.Bytes())
	plain := make([]byte, 0, size)
	rest := object[crypto.HeaderSize:]
	for n := uint32(1); ; n++ {
		final := binary.BigEndian.Uint32(rest) == 1<<32-1
		frame, iv := rest, [12]byte(rest[8:])
		if !final {
			frame, iv = rest[:crypto.Stride], [12]byte(rest[4:])
		}
		if plain, err = open.Open(plain, frame, n, final); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		once(nonce{h.ID, iv}, frame)
		if final {
			break
		}
		rest = rest[len(frame):]
	}
	if int64(len(plain)) != size {
		t.Fatalf("%q has %d bytes of content, its size says %d", key, len(plain), size)
	}
	return plain
}

// seal returns the object that the rig's keyring makes of plain for key. full
// makes a full final frame where the size allows it, as other writers do.
func (r *rig) seal(t require, key string, plain []byte, full bool) []byte {
	t.Helper()
	s, err := r.b.keys.Seal(context.Background(), r.b.full(key))
	if err != nil {
		t.Fatalf("seal %q: %v", key, err)
	}
	object := bytes.Clone(s.Header().Bytes())
	for n := uint32(1); ; n++ {
		run := s.Run(n, 1)
		if len(plain) < frameSize || full && len(plain) == frameSize {
			return run.SealFinal(object, plain)
		}
		object, plain = run.Seal(object, plain[:frameSize]), plain[frameSize:]
	}
}

// plant stores an object past everything that is ours.
func (r *rig) plant(t *testing.T, key string, object []byte, meta map[string]string) Object {
	t.Helper()
	client := s3.New(s3.Options{
		Region: sandbox.Region, BaseEndpoint: aws.String(r.server.URL()), UsePathStyle: true,
		Credentials: awscredentials.NewStaticCredentialsProvider(sandbox.AccessKey, sandbox.SecretKey, ""),
	})
	_, err := client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &r.b.opts.Bucket, Key: aws.String(r.b.full(key)), Body: bytes.NewReader(object), Metadata: meta,
	})
	check(t, err)
	o, err := r.b.Head(t.Context(), key)
	check(t, err)
	r.server.Log.Reset()
	return o
}
