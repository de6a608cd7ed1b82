package s3io

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/kms"
	boxs3 "github.com/kmsfs/kmsfs/internal/sandbox/s3"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// TestOpenRefuses gives bad input: each is refused with its remedy, and
// nothing is created.
func TestOpenRefuses(t *testing.T) {
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
	if err := s.box.S3.CreateBucket("elsewhere", boxs3.BucketOptions{Region: "eu-west-1"}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		name string
		kind Kind
		text string
		edit func(*Options)
	}{
		{"no bucket", Misconfigured, "s3://", func(o *Options) { o.Bucket = "" }},
		{"unknown bucket", NotExist, "check the name", func(o *Options) { o.Bucket = "missing" }},
		{"directory bucket", Misconfigured, "directory bucket", func(o *Options) { o.Bucket = "a--use1-az4--x-s3" }},
		{"prefix", Misconfigured, "slash", func(o *Options) { o.Prefix = "a" }},
		{"plain http", Misconfigured, "--insecure-http", func(o *Options) { o.Endpoint = "http://192.0.2.1:9000" }},
		{"plain http to KMS", Misconfigured, "--insecure-http", func(o *Options) { o.KMSEndpoint = "http://kms.example" }},
		{"password in the URL", Misconfigured, "leave them out", func(o *Options) { o.Endpoint = "https://user:pass@s3.example" }},
		{"no URL", Misconfigured, "--endpoint-url", func(o *Options) { o.Endpoint = "localhost:9000" }},
		{"part size", Misconfigured, "--part-size", func(o *Options) { o.PartSize = 1 << 20 }},
		{"dsse with bucket key", Misconfigured, "--bucket-key", func(o *Options) { o.Policy.Mode, o.Policy.BucketKey = ModeDSSE, BucketKeyOn }},
		{"wrong region", Misconfigured, "--region eu-west-1", func(o *Options) { o.Bucket = "elsewhere" }},
		{"no CA bundle", Misconfigured, "--ca-bundle", func(o *Options) { o.CABundle = "/nonexistent.pem" }},
		{"untrusted CA", Misconfigured, "--ca-bundle", func(o *Options) { o.CABundle = "" }},
		{"unknown profile", Misconfigured, "--profile", func(o *Options) { o.Profile = "nobody" }},
		{"unknown key", KeyNotFound, "region and id", func(o *Options) { o.Policy.KeyID = "11111111-2222-3333-4444-555555555555" }},
		{"unknown alias", KeyNotFound, "list-aliases", func(o *Options) { o.Policy.KeyID = "alias/nothing" }},
		{"disabled key", KeyDisabled, "enable-key", func(o *Options) { o.Policy.KeyID = key(kms.KeyOptions{}, s.box.KMS.Disable) }},
		{"key pending deletion", KeyDisabled, "cancel-key-deletion", func(o *Options) { o.Policy.KeyID = key(kms.KeyOptions{}, s.box.KMS.ScheduleDeletion) }},
		{"asymmetric key", KeyRejected, "symmetric", func(o *Options) {
			o.Policy.KeyID = key(kms.KeyOptions{Spec: "RSA_2048", Usage: "ENCRYPT_DECRYPT"}, nil)
		}},
		{"key of another region", Misconfigured, "us-east-1", func(o *Options) { o.Policy.KeyID = key(kms.KeyOptions{Region: "eu-west-1"}, nil) }},
		{"not the bucket's default", Misconfigured, "AES256", func(o *Options) { o.Policy = Policy{Mode: ModeBucketDefault, KeyID: sandbox.KeyAlias} }},
	} {
		t.Run(r.name, func(t *testing.T) {
			o := s.options()
			r.edit(&o)
			b, err := Open(s.ctx, o)
			if err == nil {
				b.cancel()
			}
			wantKind(t, err, r.kind)
			wantText(t, err, r.text)
		})
	}
	for _, op := range []string{"PutObject", "CreateMultipartUpload", "DeleteObject"} {
		if n := s.box.Log.Count(op); n > 0 {
			t.Errorf("%d %s were sent", n, op)
		}
	}
}

func TestOpenWithoutCredentials(t *testing.T) {
	s := newStage(t)
	environment(t, nil)
	_, err := Open(s.ctx, s.options())
	wantKind(t, err, Misconfigured)
	wantText(t, err, "AWS_ACCESS_KEY_ID", "--profile")
}

// TestRegionIsFound opens a bucket without any region configured.
func TestRegionIsFound(t *testing.T) {
	s := newStage(t)
	if err := s.box.S3.CreateBucket("elsewhere", boxs3.BucketOptions{Region: "eu-west-1"}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_REGION", "")
	b := s.open(func(o *Options) { o.Bucket, o.Policy, o.KMSEndpoint = "elsewhere", Policy{Mode: ModeS3}, "" })
	if b.region != "eu-west-1" {
		t.Errorf("region is %q", b.region)
	}
	if _, err := b.Probe(s.ctx); err != nil {
		t.Error(err)
	}
}

// TestModes stores an object under each mode and looks at what it came under.
func TestModes(t *testing.T) {
	s := newStage(t)
	arn, other := s.box.KMS.KeyARN(sandbox.KeyAlias), s.box.KMS.KeyARN(sandbox.OtherAlias)
	if err := s.box.S3.CreateBucket("default", boxs3.BucketOptions{Encryption: boxs3.Encryption{Algorithm: ModeKMS, KeyID: other, BucketKey: true}}); err != nil {
		t.Fatal(err)
	}
	id := arn[strings.LastIndexByte(arn, '/')+1:]
	alias := strings.TrimSuffix(arn, "key/"+id) + sandbox.KeyAlias
	for _, r := range []struct {
		name   string
		bucket string
		policy Policy
		want   Encryption
	}{
		{"alias", "demo", Policy{KeyID: sandbox.KeyAlias}, Encryption{ModeKMS, arn, true}},
		{"alias ARN", "demo", Policy{KeyID: alias}, Encryption{ModeKMS, arn, true}},
		{"id", "demo", Policy{KeyID: id, BucketKey: BucketKeyOff}, Encryption{ModeKMS, arn, false}},
		{"ARN", "default", Policy{KeyID: arn, BucketKey: BucketKeyInherit}, Encryption{ModeKMS, arn, true}},
		{"managed key", "demo", Policy{}, Encryption{ModeKMS, s.box.KMS.KeyARN(managedKey), true}},
		{"dsse", "demo", Policy{Mode: ModeDSSE, KeyID: sandbox.KeyAlias}, Encryption{ModeDSSE, arn, false}},
		{"AES256", "default", Policy{Mode: ModeS3}, Encryption{ModeS3, "", false}},
		{"bucket default", "default", Policy{Mode: ModeBucketDefault}, Encryption{ModeKMS, other, true}},
		{"bucket default with key", "default", Policy{Mode: ModeBucketDefault, KeyID: sandbox.OtherAlias}, Encryption{ModeKMS, other, true}},
	} {
		for _, endpoint := range []string{s.box.KMSURL(), ""} {
			t.Run(r.name+" "+endpoint, func(t *testing.T) {
				s.box.Log.Reset()
				b := s.mount(func(o *Options) { o.Bucket, o.Policy, o.KMSEndpoint = r.bucket, r.policy, endpoint })
				if asked := s.box.Log.Count("DescribeKey"); endpoint == "" && asked > 0 {
					t.Errorf("KMS was asked %d times", asked)
				}
				s.mustPut(b, "a", "text")
				head, err := b.Head(s.ctx, "a")
				if err != nil || head.Encryption != r.want {
					t.Errorf("got %+v, %v, want %+v", head.Encryption, err, r.want)
				}
				if b.Key() != r.want.KeyID {
					t.Errorf("key is %q, want %q", b.Key(), r.want.KeyID)
				}
				if n := b.Stats().BucketKeyMismatches; n > 0 {
					t.Errorf("%d bucket keys differ", n)
				}
			})
		}
	}
}

// TestKeyIsPinned lets the alias move after the probe, where KMS may not be
// asked: the answers then name another key.
func TestKeyIsPinned(t *testing.T) {
	s := newStage(t)
	defer s.box.Denials.Deny("kms:DescribeKey", "")()
	b := s.mount(nil)
	if len(b.Warnings()) == 0 || b.Key() != s.box.KMS.KeyARN(sandbox.KeyAlias) {
		t.Errorf("key is %q, warnings %q", b.Key(), b.Warnings())
	}
	s.fault(wire.Fault{Op: "PutObject", Kind: wire.EditHeader, Edit: lies(s)["other key"]})
	_, err := s.put(b, "a", "text", Condition{IfAbsent: true})
	wantKind(t, err, Unverified)
}

// TestBucketKeyDiffers counts what costs money and goes on.
func TestBucketKeyDiffers(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	s.fault(wire.Fault{Op: "PutObject", Kind: wire.EditHeader, Edit: func(h http.Header) { h.Del(headerBucketKey) }})
	s.mustPut(b, "a", "text")
	s.mustPut(b, "b", "text")
	if n := b.Stats().BucketKeyMismatches; n != 2 || len(b.Warnings()) != 1 {
		t.Errorf("%d counted, warnings are %q", n, b.Warnings())
	}
}

// TestProbeLeavesNothing fails the probe at every request it makes, in both
// forms, and looks for what is left.
func TestProbeLeavesNothing(t *testing.T) {
	s := newStage(t)
	for bucket := range buckets() {
		b := s.open(func(o *Options) { o.Bucket = bucket })
		for _, op := range []string{"CreateMultipartUpload", "PutObject", "HeadObject", "CopyObject", "UploadPart", "CompleteMultipartUpload", "DeleteObject"} {
			for skip := range 3 {
				for _, kind := range []wire.FaultKind{wire.Answer, wire.AnswerAfter} {
					s.fault(wire.Fault{Op: op, Skip: skip, Times: 1, Kind: kind, Status: 403, Code: "AccessDenied"})
					_, err := b.Probe(s.ctx)
					s.box.Faults.Clear()
					if err == nil { // the probe needs fewer, or takes it for a missing condition
						b.mu.Lock()
						b.caps, b.probed = Capabilities{}, false
						b.mu.Unlock()
					}
					left := s.remains(b)
					if warned := strings.Join(b.Warnings(), "\n"); op == "DeleteObject" && len(left) > 0 && strings.Contains(warned, "could not be removed") {
						s.clear(b) // the removal itself was denied, and the user was told
						continue
					}
					if len(left) > 0 {
						t.Fatalf("%s: %s denied after %d (kind %d) left %v (%v)", bucket, op, skip, kind, left, err)
					}
				}
			}
		}
	}
}

// TestProbeRefusesPlaintext takes a server that accepts the headers and stores
// plaintext, as versitygw does, and one that repeats them besides.
func TestProbeRefusesPlaintext(t *testing.T) {
	s := newStage(t)
	none := lies(s)["no echo"]
	for name, ops := range map[string][]string{
		"silent":  {""},
		"parrots": {"HeadObject"},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.open(nil)
			for _, op := range ops {
				s.fault(wire.Fault{Op: op, Kind: wire.EditHeader, Edit: none})
			}
			_, err := b.Probe(s.ctx)
			s.box.Faults.Clear()
			wantKind(t, err, Unverified)
			wantText(t, err, "without encryption")
			_, err = s.put(b, "a", "text", Condition{})
			wantKind(t, err, Misconfigured)
			if left := s.remains(b); len(left) > 0 {
				t.Errorf("left are %v", left)
			}
		})
	}
}

// TestSilentServer works with a server that answers as MinIO does: only
// PutObject and HEAD prove the encryption, and few conditions are honoured.
func TestSilentServer(t *testing.T) {
	s := newStage(t)
	for _, op := range []string{"CreateMultipartUpload", "CompleteMultipartUpload", "CopyObject"} {
		s.fault(wire.Fault{Op: op, Kind: wire.EditHeader, Edit: lies(s)["no echo"]})
	}
	b := s.mount(nil)
	if caps := b.capabilities(); caps.Echo != EchoPut || !caps.PutIfAbsent {
		t.Errorf("capabilities are %+v", caps)
	}
	src := s.mustPut(b, "src", "text")
	for op, way := range ways(s, b, src) {
		if o, err := way(Condition{}); err != nil || o.Encryption.KeyID != b.Key() {
			t.Errorf("%s: %+v, %v", op, o, err)
		}
	}
	s.fault(wire.Fault{Op: "HeadObject", Key: "pre/new", Kind: wire.EditHeader, Edit: lies(s)["other key"]})
	for op, way := range ways(s, b, src) {
		if op == "PutObject" {
			continue
		}
		if err := b.Delete(s.ctx, Object{Key: "new"}); err != nil {
			t.Fatal(err)
		}
		_, err := way(Condition{IfAbsent: true})
		wantKind(t, err, Unverified)
		if left := strings.Join(s.remains(b), ", "); left != "version pre/src" {
			t.Errorf("%s left %s", op, left)
		}
	}
}

// TestServerWithoutConditions asks by HEAD what the server does not check.
func TestServerWithoutConditions(t *testing.T) {
	s := newStage(t)
	b := s.mount(nil)
	b.caps = Capabilities{Echo: EchoAll}
	src := s.mustPut(b, "src", "text")
	for op, way := range ways(s, b, src) {
		theirs := s.mustPut(b, "new", "theirs")
		_, err := way(Condition{IfAbsent: true})
		wantKind(t, err, Exists)
		_, err = way(Condition{IfMatch: src.ETag})
		wantKind(t, err, Stale)
		if _, err := way(Condition{IfMatch: theirs.ETag}); err != nil {
			t.Errorf("%s: %v", op, err)
		}
		wantKind(t, b.Delete(s.ctx, theirs), Stale)
	}
	s.box.Log.Reset()
	_, err := b.Copy(s.ctx, Object{Key: "src", ETag: `"x"`, Head: true}, "other", Attrs{}, Condition{})
	wantKind(t, err, Stale)
	for _, r := range s.box.Log.Requests() {
		if r.Op == "CopyObject" {
			t.Error("a changed source was copied")
		}
	}
}

// TestReadOnly sends nothing that creates.
func TestReadOnly(t *testing.T) {
	s := newStage(t)
	b := s.mount(func(o *Options) { o.ReadOnly = true })
	_, err := s.put(b, "a", "text", Condition{})
	wantKind(t, err, ReadOnlyBucket)
	wantKind(t, b.Delete(s.ctx, Object{Key: "a"}), ReadOnlyBucket)
	for op := range s.box.Log.Counts() {
		if what := effectOf(op); what == creates || what == changes {
			t.Errorf("%s was sent", op)
		}
	}
}

// TestServerThatIsNoS3 answers everything with a page.
func TestServerThatIsNoS3(t *testing.T) {
	s := newStage(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
	}))
	defer server.Close()
	b := s.open(func(o *Options) { o.Endpoint, o.KMSEndpoint, o.Policy.KeyID = server.URL, "", "key" })
	b.lookup, b.commit = time.Second, time.Second
	if _, err := b.Probe(s.ctx); err == nil {
		t.Error("a page passed for a proof")
	}
}
