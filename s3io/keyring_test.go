package s3io

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/kms"
	boxs3 "github.com/kmsfs/kmsfs/internal/sandbox/s3"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// TestEnvelopeOptions gives bad options: each is refused with its remedy.
func TestEnvelopeOptions(t *testing.T) {
	s := newStage(t)
	key := func(o kms.KeyOptions, after func(string) error) string {
		arn, err := s.box.KMS.CreateKey(o)
		if err == nil && after != nil {
			err = after(arn)
		}
		if err != nil {
			t.Fatal(err)
		}
		return arn
	}
	for _, r := range []struct {
		name string
		kind Kind
		text string
		edit func(*Options, *Envelope)
	}{
		{"no key", Misconfigured, "--envelope-key-id", func(_ *Options, e *Envelope) { e.KeyIDs = nil }},
		{"no key to read", Misconfigured, "--allow-key-id", func(o *Options, e *Envelope) { o.ReadOnly, e.KeyIDs = true, nil }},
		{"neither reads nor writes", Misconfigured, "--write-only", func(o *Options, e *Envelope) { o.ReadOnly, e.WriteOnly = true, true }},
		{"scope", Misconfigured, "--context-scope", func(_ *Options, e *Envelope) { e.Scope = 7 }},
		{"negative time", Misconfigured, "--key-cache-ttl", func(_ *Options, e *Envelope) { e.TTL = -1 }},
		{"access point", Misconfigured, "--context-bucket", func(o *Options, _ *Envelope) { o.Bucket = "arn:aws:s3:us-east-1:111122223333:accesspoint/ap" }},
		{"access point alias", Misconfigured, "--context-bucket", func(o *Options, _ *Envelope) { o.Bucket = "ap-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias" }},
		{"context of no bucket", Misconfigured, "arn:aws:s3:::NAME", func(_ *Options, e *Envelope) { e.ContextBucket = "a/b" }},
		{"context of all buckets", Misconfigured, "arn:aws:s3:::NAME", func(_ *Options, e *Envelope) { e.AcceptContextBuckets = []string{"arn:aws:s3:::*"} }},
		{"reserved name", Misconfigured, "aws-crypto-public-key", func(_ *Options, e *Envelope) { e.Context = map[string]string{"aws-crypto-public-key": "x"} }},
		{"name of our own", Misconfigured, "aws:s3:arn", func(_ *Options, e *Envelope) { e.Context = map[string]string{"aws:s3:arn": "x"} }},
		{"bucket key of S3", Misconfigured, "--bucket-key", func(o *Options, _ *Envelope) { o.Policy.Mode, o.Policy.BucketKey = ModeDSSE, BucketKeyOn }},
		{"key for none", Misconfigured, "--sse-kms-key-id", func(o *Options, _ *Envelope) { o.Policy.Mode, o.Policy.KeyID = ModeNone, sandbox.KeyAlias }},
		{"plain http to KMS", Misconfigured, "--insecure-http", func(o *Options, _ *Envelope) { o.KMSEndpoint = "http://kms.example" }},
		{"unknown key", KeyNotFound, "region and id", func(_ *Options, e *Envelope) { e.KeyIDs[0] = "11111111-2222-3333-4444-555555555555" }},
		{"unknown further key", KeyNotFound, "list-aliases", func(_ *Options, e *Envelope) { e.KeyIDs = append(e.KeyIDs, "alias/nothing") }},
		{"unknown allowed key", KeyNotFound, "list-aliases", func(_ *Options, e *Envelope) { e.AllowKeyIDs = []string{"alias/nothing"} }},
		{"disabled key", KeyDisabled, "enable-key", func(_ *Options, e *Envelope) { e.KeyIDs[0] = key(kms.KeyOptions{}, s.box.KMS.Disable) }},
		{"asymmetric key", KeyRejected, "symmetric", func(_ *Options, e *Envelope) {
			e.KeyIDs[0] = key(kms.KeyOptions{Spec: "RSA_2048", Usage: "ENCRYPT_DECRYPT"}, nil)
		}},
		{"key of AWS", Misconfigured, "of your own", func(_ *Options, e *Envelope) { e.KeyIDs[0] = managedKey }},
	} {
		t.Run(r.name, func(t *testing.T) {
			o := s.options()
			o.Policy, o.Envelope = Policy{}, &Envelope{KeyIDs: []string{sandbox.KeyAlias}}
			r.edit(&o, o.Envelope)
			b, err := Open(s.ctx, o)
			if err == nil {
				_ = b.Close(s.ctx)
			}
			wantKind(t, err, r.kind)
			wantText(t, err, r.text)
		})
	}
}

// TestContextIsNoSecret warns of what others can read.
func TestContextIsNoSecret(t *testing.T) {
	s := newStage(t)
	b := s.vault(func(o *Options) { o.Envelope.Context = map[string]string{"team": "a"} })
	if !strings.Contains(strings.Join(b.Warnings(), "\n"), "CloudTrail") {
		t.Errorf("warnings are %q", b.Warnings())
	}
	if got, err := s.readAll(b, s.plantSealed(b, "a", []byte("text"))); err != nil || string(got) != "text" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestNoneWithoutEnvelope is refused: nothing would be encrypted.
func TestNoneWithoutEnvelope(t *testing.T) {
	s := newStage(t)
	o := s.options()
	o.Policy = Policy{Mode: ModeNone}
	_, err := Open(s.ctx, o)
	wantKind(t, err, Misconfigured)
	wantText(t, err, "--envelope-key-id")
}

// TestSealingPolicies opens buckets of all defaults: sealing needs none, but
// what is there or asked for is demanded.
func TestSealingPolicies(t *testing.T) {
	s := newStage(t)
	arn := s.box.KMS.KeyARN(sandbox.KeyAlias)
	if err := s.box.S3.CreateBucket("default", boxs3.BucketOptions{Encryption: boxs3.Encryption{Algorithm: ModeKMS, KeyID: arn}}); err != nil {
		t.Fatal(err)
	}
	silent := s.fault(wire.Fault{Op: "GetBucketEncryption", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
	for _, r := range []struct {
		name, bucket string
		policy       Policy
		denied       bool
		want         sse
		expect       expectation
	}{
		{"default AES256", "demo", Policy{}, false, sse{}, expectation{algorithm: ModeS3}},
		{"default KMS", "default", Policy{}, false, sse{}, expectation{algorithm: ModeKMS, key: arn}},
		{"not to be read", "demo", Policy{}, true, sse{}, expectation{none: true}},
		{"none", "demo", Policy{Mode: ModeNone}, true, sse{}, expectation{none: true}},
		{"both", "demo", Policy{Mode: ModeKMS, KeyID: sandbox.KeyAlias, BucketKey: BucketKeyOff}, true,
			sse{algorithm: ModeKMS, keyID: arn}, expectation{algorithm: ModeKMS, key: arn}},
		{"both by the key", "demo", Policy{KeyID: sandbox.KeyAlias}, true, sse{algorithm: ModeKMS, keyID: arn}, expectation{algorithm: ModeKMS, key: arn}},
		{"context of the envelope", "demo", Policy{Mode: ModeBucketDefault, Context: map[string]string{"a": "b"}, BucketKey: BucketKeyOff}, false,
			sse{}, expectation{algorithm: ModeS3}},
	} {
		t.Run(r.name, func(t *testing.T) {
			if r.denied {
				silent = s.fault(wire.Fault{Op: "GetBucketEncryption", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
			}
			defer silent.Remove()
			if !r.denied {
				silent.Remove()
			}
			b := s.vault(func(o *Options) { o.Bucket, o.Policy = r.bucket, r.policy })
			got, expect := b.wanted(), b.expectation()
			got.bucketKey, expect.bucketKey = nil, nil
			if got != r.want || expect != r.expect {
				t.Errorf("sent is %+v, expected %+v", got, expect)
			}
			if len(b.Warnings()) > 0 {
				t.Errorf("warnings are %q", b.Warnings())
			}
		})
	}
	denied := s.fault(wire.Fault{Op: "GetBucketEncryption", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
	defer denied.Remove()
	o := s.options()
	o.Policy, o.Envelope = Policy{Mode: ModeBucketDefault}, &Envelope{KeyIDs: []string{sandbox.KeyAlias}}
	_, err := Open(s.ctx, o)
	wantKind(t, err, Permission) // asked for by name, it is demanded
}

// TestNoneOnASilentServer works where nothing speaks of encryption.
func TestNoneOnASilentServer(t *testing.T) {
	s := newStage(t)
	s.fault(wire.Fault{Kind: wire.EditHeader, Edit: lies(s)["no echo"]})
	b := s.vault(func(o *Options) { o.Policy = Policy{Mode: ModeNone} })
	src := s.plantSealed(b, "src", []byte("text"))
	s.box.Log.Reset()
	if _, err := b.Copy(s.ctx, src, "dst", Attrs{}, Condition{IfAbsent: true}); err != nil {
		t.Fatal(err)
	}
	if asked := s.asked(); len(asked) != 2 {
		t.Errorf("asked %v, want HEAD and copy", asked)
	}
}

// TestKeysOfRegions wraps for a second region, whose replica then reads.
func TestKeysOfRegions(t *testing.T) {
	s := newStage(t)
	primary, err := s.box.KMS.CreateKey(kms.KeyOptions{MultiRegion: true})
	if err != nil {
		t.Fatal(err)
	}
	replica, err := s.box.KMS.Replicate(primary, "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.box.KMS.CreateKey(kms.KeyOptions{Region: "eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	b := s.vault(func(o *Options) { o.Envelope.KeyIDs = []string{primary, other} })
	if keys := b.EnvelopeKeys(); len(keys) != 2 || keys[0] != primary || keys[1] != other {
		t.Errorf("keys are %q", keys)
	}
	plain := noise(1000)
	o := s.plantSealed(b, "a", plain)
	for _, id := range []string{primary, replica, other} {
		reader := s.vault(func(o *Options) { o.ReadOnly, o.Envelope = true, &Envelope{AllowKeyIDs: []string{id}} })
		if got, err := s.readAll(reader, o); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// TestARNWithoutDescribe takes a full ARN as it is where KMS does not describe
// the key, and nothing else.
func TestARNWithoutDescribe(t *testing.T) {
	s := newStage(t)
	defer s.box.Denials.Deny("kms:DescribeKey", "")()
	arn := s.box.KMS.KeyARN(sandbox.KeyAlias)
	b := s.vault(func(o *Options) { o.Envelope.KeyIDs = []string{arn} })
	if got, err := s.readAll(b, s.plantSealed(b, "a", []byte("text"))); err != nil || string(got) != "text" {
		t.Errorf("%q, %v", got, err)
	}
	o := s.options()
	o.Policy, o.Envelope = Policy{}, &Envelope{KeyIDs: []string{sandbox.KeyAlias}}
	_, err := Open(s.ctx, o)
	wantKind(t, err, Permission)
	wantText(t, err, "full ARN")
}

// TestAcceptedBuckets reads what was bound to other buckets only where that is
// accepted, by name or ARN.
func TestAcceptedBuckets(t *testing.T) {
	s := newStage(t)
	origin := s.vault(func(o *Options) { o.Envelope.ContextBucket = "origin" })
	o := s.plantSealed(origin, "a", []byte("text"))
	for name, accepts := range map[string]bool{"": false, "other": false, "origin": true, "arn:aws:s3:::origin": true, "arn:aws-cn:s3:::origin": false} {
		b := s.vault(func(o *Options) {
			o.ReadOnly = true
			if name != "" {
				o.Envelope.AcceptContextBuckets = []string{name}
			}
		})
		got, err := s.readAll(b, o)
		if accepts && (err != nil || string(got) != "text") || !accepts && KindOf(err) != KeyRejected {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	if arn := partitionOf("cn-north-1") + partitionOf("us-gov-west-1") + partitionOf("eu-central-1"); arn != "aws-cnaws-us-govaws" {
		t.Error(arn)
	}
}

// TestWriteOnly seals and never decrypts.
func TestWriteOnly(t *testing.T) {
	s := newStage(t)
	old := s.plantSealed(s.vault(nil), "old", []byte("text"))
	defer s.box.Denials.Deny("kms:Decrypt", "")()
	s.box.Log.Reset()
	b := s.vault(func(o *Options) { o.Envelope.WriteOnly = true })
	_, err := s.readAll(b, old)
	wantKind(t, err, Permission)
	wantText(t, err, "--write-only")
	s.plantSealed(b, "new", []byte("text"))
	if n := s.box.Log.Count("Decrypt"); n != 0 {
		t.Errorf("KMS was asked %d times", n)
	}
	o := s.options()
	o.Policy, o.Envelope = Policy{}, &Envelope{KeyIDs: []string{sandbox.KeyAlias}}
	refused := s.open(func(to *Options) { *to = o })
	_, err = refused.Probe(s.ctx)
	wantKind(t, err, Permission)
	wantText(t, err, "kms:Decrypt", "--write-only")
}

// TestDisabledKey bites at the next question to KMS; a Reader that is open
// reads on.
func TestDisabledKey(t *testing.T) {
	s := newStage(t)
	b := s.vault(soon)
	arn := b.EnvelopeKeys()[0]
	o := s.plantSealed(b, "a", noise(2*frame))
	head, err := b.Head(s.ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	r := b.NewReader(o)
	defer r.Close()
	if _, err := r.ReadAt(s.ctx, make([]byte, 10), 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(string) error
		want   Kind
	}{{s.box.KMS.Disable, KeyDisabled}, {s.box.KMS.ScheduleDeletion, KeyDisabled}} {
		if err := c.change(arn); err != nil {
			t.Fatal(err)
		}
		b.Keyring().Flush()
		_, err := s.readAll(b, o)
		wantKind(t, err, c.want)
		wantKind(t, b.Unlock(s.ctx, head), c.want)
		if err := b.Unlock(s.ctx, o); err != nil {
			t.Errorf("of which the header is not known: %v", err)
		}
	}
	if _, err := r.ReadAt(s.ctx, make([]byte, 10), frame); err != nil {
		t.Errorf("an open reader: %v", err)
	}
	defer s.box.Denials.Deny("kms:Decrypt", "")()
	wantKind(t, s.vaultError(b, o), Permission)
}

func (s *stage) vaultError(b *Bucket, o Object) error {
	_, err := s.readAll(b, o)
	return err
}

// TestKMSOutage ends a read at its deadline, and one that is interrupted at
// once.
func TestKMSOutage(t *testing.T) {
	s := newStage(t)
	b := s.vault(soon)
	o := s.plantSealed(b, "a", []byte("text"))
	b.Keyring().Flush()
	s.fault(wire.Fault{Op: "Decrypt", Kind: wire.Hang})
	began := time.Now()
	_, err := s.readAll(b, o)
	wantKind(t, err, Timeout)
	if took := time.Since(began); took > 3*b.lookup {
		t.Errorf("it took %v", took)
	}
	s.box.Faults.Clear()
	s.fault(wire.Fault{Op: "Decrypt", Kind: wire.ResetBefore, Times: 2})
	if got, err := s.readAll(b, o); err != nil || string(got) != "text" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestOpeningAllocatesNothing per frame.
func TestOpeningAllocatesNothing(t *testing.T) {
	s := newStage(t)
	b := s.vault(nil)
	const count = 64
	sealed, h := s.seal(b, "a", noise(count*frame), false)
	m := b.message(Object{Key: "a", Form: Sealed, Size: count * frame, Stored: int64(len(sealed))})
	open, err := m.unlock(s.ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{frame, frame / 2, frame + 1} { // in the caller's buffer, and not
		u := &unsealed{m: m, ctx: s.ctx, open: open, buf: framePool.Get().(*frames), next: 1, last: count, final: count + 1, end: count * frame}
		u.body = &answer{ctx: s.ctx, from: io.NopCloser(bytes.NewReader(sealed[crypto.HeaderSize:])), left: int64(len(sealed))}
		p := make([]byte, n)
		allocs := testing.AllocsPerRun(count-2, func() {
			if _, err := io.ReadFull(u, p[:min(n, frame)]); err != nil {
				t.Fatal(err)
			}
		})
		if allocs >= 1 {
			t.Errorf("reads of %d bytes allocate %v times", n, allocs)
		}
	}
}
