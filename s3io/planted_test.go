package s3io

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
	boxs3 "github.com/kmsfs/kmsfs/internal/sandbox/s3"
)

// readAll reads all of o, through a Reader and by one GET, which must agree.
func (s *stage) readAll(b *Bucket, o Object) ([]byte, error) {
	s.t.Helper()
	r := b.NewReader(o)
	defer r.Close()
	got, err := io.ReadAll(io.NewSectionReader(readerAt{s.ctx, r}, 0, max(o.Size, 1)))
	body, once := b.Get(s.ctx, o, 0, -1)
	if once == nil {
		var same []byte
		if same, once = io.ReadAll(body); once == nil && !bytes.Equal(same, got) {
			s.t.Errorf("%q: Get and Reader disagree", o.Key)
		}
		_ = body.Close()
	}
	if KindOf(err) != KindOf(once) || (err == nil) != (once == nil) {
		s.t.Errorf("%q: Reader says %v, Get %v", o.Key, err, once)
	}
	return got, err
}

// TestPlantedObjects reads what somebody with access to the bucket put there:
// each is refused, whatever a listing or HEAD says of it, and no key that is
// not the mount's is ever used.
func TestPlantedObjects(t *testing.T) {
	s := newStage(t)
	if err := s.box.S3.CreateBucket("elsewhere", boxs3.BucketOptions{}); err != nil {
		t.Fatal(err)
	}
	b := s.vault(soon)
	otherKey := s.vault(func(o *Options) { o.Envelope.KeyIDs = []string{sandbox.OtherAlias} })
	elsewhere := s.vault(func(o *Options) { o.Bucket = "elsewhere" })
	plain := noise(3*frame + 100)
	good, header := s.seal(b, "a", plain, false)
	second, header2 := s.seal(b, "b", plain, false)
	foreign, foreignHeader := s.seal(otherKey, "a", plain, false)
	moved, movedHeader := s.seal(elsewhere, "a", plain, false)
	at := func(n uint32) int64 { return crypto.FrameOffset(n) }
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	flipped := func(i int64) []byte {
		c := bytes.Clone(good)
		c[i] ^= 1
		return c
	}
	short, _ := s.seal(b, "a", plain[:2*frame+100], false)
	for _, c := range []struct {
		name    string
		content []byte
		meta    map[string]string
		want    Kind
	}{
		{"foreign key", foreign, inMeta(foreignHeader), KeyRejected},
		{"foreign key without metadata", foreign, nil, KeyRejected},
		{"context of another bucket", moved, inMeta(movedHeader), KeyRejected},
		{"header of another message", join(second[:at(1)], good[at(1):]), nil, Integrity},
		{"header of another message, in metadata too", join(second[:at(1)], good[at(1):]), inMeta(header2), Integrity},
		{"header swapped for a foreign one", join(foreign[:at(1)], good[at(1):]), nil, KeyRejected},
		{"cut within the header", good[:900], inMeta(header), KeyRejected},
		{"cut to an empty file", good[:crypto.MinSealedSize], inMeta(header), Integrity},
		{"cut between frames", good[:at(3)], inMeta(header), Integrity},
		{"cut within a frame", good[:at(3)+1000], inMeta(header), Integrity},
		{"cut within the final frame", good[:len(good)-1], inMeta(header), Integrity},
		{"cut to a size that none has", good[:at(3)+20], inMeta(header), KeyRejected},
		{"two spliced", join(good[:at(2)], second[at(2):at(3)], good[at(3):]), inMeta(header), Integrity},
		{"frames reordered", join(good[:at(1)], good[at(2):at(3)], good[at(1):at(2)], good[at(3):]), inMeta(header), Integrity},
		{"a frame left out", join(good[:at(2)], good[at(3):]), inMeta(header), Integrity},
		{"final frame of an older message", join(good[:at(4)], second[at(4):]), inMeta(header), Integrity},
		{"an earlier end", join(good[:at(3)], short[at(3):]), inMeta(header), Integrity},
		{"extra bytes", join(good, []byte("more")), inMeta(header), Integrity},
		{"appended frame", join(good[:at(4)], good[at(3):at(4)], good[at(4):]), inMeta(header), Integrity},
		{"wrong magic", join([]byte("%PDF"), good[4:]), nil, KeyRejected},
		{"wrong magic under a good header in metadata", join([]byte("%PDF"), good[4:at(1)], flipped(at(1))[at(1):]), inMeta(header), KeyRejected},
		{"flipped bit of the message ID", flipped(10), nil, Integrity},
		{"flipped bit of the commitment", flipped(crypto.HeaderSize - 40), nil, Integrity},
		{"flipped bit of the header's tag", flipped(crypto.HeaderSize - 1), nil, Integrity},
		{"flipped bit of a frame number", flipped(at(2) + 3), inMeta(header), Integrity},
		{"flipped bit of an IV", flipped(at(2) + 8), inMeta(header), Integrity},
		{"flipped bit of content", flipped(at(2) + 5000), inMeta(header), Integrity},
		{"flipped bit of a tag", flipped(at(3) - 1), inMeta(header), Integrity},
		{"plaintext", plain, nil, KeyRejected},
	} {
		t.Run(c.name, func(t *testing.T) {
			listed := s.plant(b, "a", c.content, c.meta)
			head, err := b.Head(s.ctx, "a")
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range []Object{listed, head} {
				s.box.Log.Reset()
				got, err := s.readAll(b, o)
				if err == nil || KindOf(err) != c.want {
					t.Errorf("got %v (kind %d), want kind %d; header known: %v", err, KindOf(err), c.want, o.Header != nil)
				}
				if !bytes.HasPrefix(plain, got) {
					t.Errorf("%d bytes were read that nobody wrote", len(got))
				}
				for _, r := range s.box.Log.Requests() {
					if r.Service == "kms" && r.Key != b.EnvelopeKeys()[0] {
						t.Errorf("KMS was asked %s about %s", r.Op, r.Key)
					}
				}
			}
		})
	}
}

// TestMetadataIsAHint reads objects whose own header is right, whatever their
// metadata says.
func TestMetadataIsAHint(t *testing.T) {
	s := newStage(t)
	b := s.vault(nil)
	otherKey := s.vault(func(o *Options) { o.Envelope.KeyIDs = []string{sandbox.OtherAlias} })
	plain := noise(3*frame + 100)
	good, _ := s.seal(b, "a", plain, false)
	_, another := s.seal(b, "b", plain, false)
	_, foreign := s.seal(otherKey, "a", plain, false)
	broken := inMeta(another)
	broken[metaHeader] = broken[metaHeader][:200] + "AAAA" + broken[metaHeader][204:]
	for name, meta := range map[string]map[string]string{
		"none": nil, "of another object": inMeta(another), "under a foreign key": inMeta(foreign), "broken": broken,
		"no base64": {metaHeader: "%%%"}, "too long": {metaHeader: strings.Repeat("A", 1500)},
	} {
		t.Run(name, func(t *testing.T) {
			listed := s.plant(b, "a", good, meta)
			head, err := b.Head(s.ctx, "a")
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range []Object{listed, head} {
				if got, err := s.readAll(b, o); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				if got, err := s.read(b, o, 2*frame+7, 1000); err != nil || !bytes.Equal(got, plain[2*frame+7:][:1000]) {
					t.Errorf("in the middle: %d bytes, %v", len(got), err)
				}
				if err := b.Unlock(s.ctx, o); err != nil {
					t.Errorf("unlock: %v", err)
				}
			}
		})
	}
}
