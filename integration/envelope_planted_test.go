package integration

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox"
)

// planted is an object that somebody put into the bucket, or made of ours.
type planted struct {
	name  string
	body  []byte
	meta  map[string]string
	errno syscall.Errno // of reading all of it; 0 is success
	at    errnoAt       // of reading a part
	asks  bool          // KMS may be asked
}

// errnoAt says what a read of some bytes at an offset comes to.
type errnoAt struct {
	off   int64
	errno syscall.Errno
}

// frames of the objects that are planted, and their plaintext size.
const (
	plantedFrames = 5
	plantedSize   = plantedFrames*crypto.FrameSize + 1000
)

// cut returns where frame n begins.
func cut(n uint32) int64 { return crypto.FrameOffset(n) }

// plant makes objects such as an attacker with write access to the bucket can.
func plant(t *testing.T, s *harness.Server) []planted {
	ours := s.Keyring(t, s.EnvelopeKey, crypto.KeyringOptions{})
	theirs := s.Keyring(t, s.Sandbox.KMS.KeyARN(sandbox.KeyAlias), crypto.KeyringOptions{})
	elsewhere := s.Keyring(t, s.EnvelopeKey, crypto.KeyringOptions{Bucket: "arn:aws:s3:::elsewhere"})
	plain := harness.Random(1, plantedSize)
	seal := func(ring *crypto.Keyring, plain []byte) []byte { return s.Seal(t, ring, "f", plain) }
	good, other := seal(ours, plain), seal(ours, harness.Random(2, plantedSize))
	longer := seal(ours, append(bytes.Clone(plain), harness.Random(3, 200)...))
	last := cut(plantedFrames + 1)
	compact := func(sealed []byte) map[string]string {
		h, err := crypto.ParseHeader(sealed)
		harness.Must(t, err)
		return map[string]string{"kmsfs-h": base64.RawURLEncoding.EncodeToString(h.Compact())}
	}
	middle, end := int64(2*crypto.FrameSize+5), int64(plantedSize-10)
	return []planted{
		{name: "intact", body: good, asks: true},
		{name: "intact, its header in its metadata", body: good, meta: compact(good), asks: true},
		{name: "another's header in its metadata", body: good, meta: compact(other), asks: true},
		{name: "header in metadata is noise", body: good, meta: map[string]string{"kmsfs-h": "bm9pc2U"}, asks: true},
		{name: "foreign key", body: seal(theirs, plain), errno: syscall.EKEYREJECTED},
		{name: "foreign key in metadata", body: good, meta: compact(seal(theirs, plain)), asks: true}, // about its own
		{name: "context of another bucket", body: seal(elsewhere, plain), errno: syscall.EKEYREJECTED},
		{name: "swapped header", body: slices.Concat(other[:crypto.HeaderSize], good[crypto.HeaderSize:]), errno: syscall.EBADMSG, asks: true},
		{name: "swapped header, also in metadata", body: slices.Concat(other[:crypto.HeaderSize], good[crypto.HeaderSize:]), meta: compact(other), errno: syscall.EBADMSG, asks: true},
		{name: "truncated between frames", body: good[:last], errno: syscall.EBADMSG, asks: true, at: errnoAt{middle, 0}},
		{name: "truncated in a frame", body: good[:last-10_000], errno: syscall.EBADMSG, asks: true, at: errnoAt{middle, 0}},
		{name: "truncated to no possible size", body: good[:cut(5)+crypto.MinSealedSize-crypto.HeaderSize-5], errno: syscall.EKEYREJECTED},
		{name: "truncated header", body: good[:crypto.HeaderSize-1], errno: syscall.EKEYREJECTED},
		{name: "nothing", body: nil, errno: syscall.EKEYREJECTED},
		{name: "spliced from two", body: slices.Concat(good[:cut(3)], other[cut(3):]), errno: syscall.EBADMSG, asks: true, at: errnoAt{10, 0}},
		{name: "frames exchanged", body: slices.Concat(good[:cut(2)], good[cut(3):cut(4)], good[cut(2):cut(3)], good[cut(4):]), errno: syscall.EBADMSG, asks: true, at: errnoAt{end, 0}},
		{name: "old final frame", body: slices.Concat(longer[:last], good[last:]), errno: syscall.EBADMSG, asks: true, at: errnoAt{middle, 0}},
		{name: "flipped bit", body: flip(good, cut(3)+100), errno: syscall.EBADMSG, asks: true, at: errnoAt{middle, syscall.EBADMSG}},
		{name: "flipped bit in the header", body: flip(good, 50), errno: syscall.EKEYREJECTED},
		{name: "flipped bit in the commitment", body: flip(good, crypto.HeaderSize-30), errno: syscall.EBADMSG, asks: true},
		{name: "plaintext", body: plain, errno: syscall.EKEYREJECTED},
	}
}

func flip(b []byte, at int64) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// What was planted is refused with the errno of the table, and KMS hears
// nothing of foreign keys.
func plantedObjects(t *testing.T) {
	s := harness.Sandbox(t).In(t, harness.Envelope)
	objects := plant(t, s)
	for _, p := range objects {
		s.PutRaw(t, p.name, p.body, func(in *s3.PutObjectInput) { in.Metadata = p.meta })
	}
	m := s.Mount(t, "--key-cache=off")
	for _, p := range objects {
		t.Run(p.name, func(t *testing.T) {
			s.Sandbox.Log.Reset()
			if p.at.off > 0 {
				readPart(t, m.Path(p.name), p.at)
			}
			got, err := os.ReadFile(m.Path(p.name))
			if p.errno == 0 {
				harness.Must(t, err)
				harness.Equal(t, p.name, got, harness.Random(1, plantedSize))
			} else {
				harness.WantErrno(t, "read", err, p.errno)
			}
			for _, r := range s.Sandbox.Log.Requests() {
				if r.Service == "kms" && (!p.asks || r.Key != s.EnvelopeKey) {
					t.Errorf("KMS was asked: %s of %s", r.Op, r.Key)
				}
			}
			harness.Write(t, m.Path(p.name), []byte("replaced"))
			harness.Want(t, m.Path(p.name), []byte("replaced"))
			harness.Must(t, os.Remove(m.Path(p.name)))
		})
	}
	if keys := s.Keys(t); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
}

// readPart reads a few bytes in the middle.
func readPart(t *testing.T, path string, at errnoAt) {
	t.Helper()
	f, err := os.Open(path)
	harness.Must(t, err)
	defer f.Close()
	got := make([]byte, 8)
	_, err = f.ReadAt(got, at.off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	switch {
	case at.errno != 0:
		harness.WantErrno(t, "read of a part", err, at.errno)
	case err != nil:
		t.Errorf("read of an intact part: %v", err)
	default:
		harness.Equal(t, "intact part", got, harness.Random(1, plantedSize)[at.off:at.off+8])
	}
}
