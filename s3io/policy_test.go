package s3io

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"
)

func TestPolicyNormal(t *testing.T) {
	pairs := map[string]string{"a": "b"}
	for _, r := range []struct {
		name string
		in   Policy
		want sse
		bad  bool
	}{
		{"default", Policy{}, sse{algorithm: ModeKMS, bucketKey: aws.Bool(true)}, false},
		{"off", Policy{BucketKey: BucketKeyOff}, sse{algorithm: ModeKMS, bucketKey: aws.Bool(false)}, false},
		{"inherit", Policy{BucketKey: BucketKeyInherit}, sse{algorithm: ModeKMS}, false},
		{"key and context", Policy{KeyID: "k", Context: pairs}, sse{algorithm: ModeKMS, keyID: "k", bucketKey: aws.Bool(true), context: "eyJhIjoiYiJ9"}, false},
		{"dsse", Policy{Mode: ModeDSSE, KeyID: "k"}, sse{algorithm: ModeDSSE, keyID: "k"}, false},
		{"dsse with bucket key off", Policy{Mode: ModeDSSE, BucketKey: BucketKeyOff}, sse{algorithm: ModeDSSE}, false},
		{"dsse with bucket key", Policy{Mode: ModeDSSE, BucketKey: BucketKeyOn}, sse{}, true},
		{"AES256", Policy{Mode: ModeS3}, sse{algorithm: ModeS3}, false},
		{"AES256 with key", Policy{Mode: ModeS3, KeyID: "k"}, sse{}, true},
		{"AES256 with context", Policy{Mode: ModeS3, Context: pairs}, sse{}, true},
		{"AES256 with bucket key", Policy{Mode: ModeS3, BucketKey: BucketKeyOn}, sse{}, true},
		{"bucket default", Policy{Mode: ModeBucketDefault, KeyID: "k"}, sse{}, false},
		{"bucket default with context", Policy{Mode: ModeBucketDefault, Context: pairs}, sse{}, true},
		{"bucket default with bucket key off", Policy{Mode: ModeBucketDefault, BucketKey: BucketKeyOff}, sse{}, true},
		{"unknown", Policy{Mode: "rot13"}, sse{}, true},
	} {
		p, err := r.in.normal()
		if r.bad {
			if KindOf(err) != Misconfigured {
				t.Errorf("%s: got %v, want it refused", r.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", r.name, err)
			continue
		}
		got, err := p.headers(p.KeyID)
		if diff := cmp.Diff(r.want, got, cmp.AllowUnexported(sse{})); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", r.name, err, diff)
		}
	}
}

func TestProof(t *testing.T) {
	const arn, other = "arn:aws:kms:us-east-1:1:key/k", "arn:aws:kms:us-east-1:2:key/k"
	kms := func(key string) proof { return proof{Encryption: Encryption{Algorithm: ModeKMS, KeyID: key}} }
	for _, r := range []struct {
		name string
		e    expectation
		p    proof
		good bool
	}{
		{"same", expectation{algorithm: ModeKMS, key: arn}, kms(arn), true},
		{"silent", expectation{algorithm: ModeKMS, key: arn}, proof{}, false},
		{"no key", expectation{algorithm: ModeKMS, key: arn}, kms(""), false},
		{"no key, none pinned", expectation{algorithm: ModeKMS}, kms(""), false},
		{"none pinned", expectation{algorithm: ModeKMS}, kms(arn), true},
		{"other account", expectation{algorithm: ModeKMS, key: arn, loose: true}, kms(other), false},
		{"id, from AWS", expectation{algorithm: ModeKMS, key: arn}, kms("k"), false},
		{"id, loose", expectation{algorithm: ModeKMS, key: "k", loose: true}, kms(arn), true},
		{"MinIO's form", expectation{algorithm: ModeKMS, key: "my-key", loose: true}, kms("arn:aws:kms:my-key"), true},
		{"MinIO's form of another", expectation{algorithm: ModeKMS, key: "my-key", loose: true}, kms("arn:aws:kms:key"), false},
		{"weaker", expectation{algorithm: ModeDSSE, key: arn}, kms(arn), false},
		{"SSE-S3 instead", expectation{algorithm: ModeKMS, key: arn}, proof{Encryption: Encryption{Algorithm: ModeS3}}, false},
		{"SSE-S3", expectation{algorithm: ModeS3}, proof{Encryption: Encryption{Algorithm: ModeS3}}, true},
		{"context with S3's own pair", expectation{algorithm: ModeKMS, context: "eyJhIjoiYiJ9"},
			proof{Encryption: Encryption{Algorithm: ModeKMS, KeyID: arn}, context: "eyJhIjoiYiIsImF3czpzMzphcm4iOiJ4In0="}, true},
		{"other context", expectation{algorithm: ModeKMS, context: "eyJhIjoiYiJ9"},
			proof{Encryption: Encryption{Algorithm: ModeKMS, KeyID: arn}, context: "eyJhIjoiYyJ9"}, false},
	} {
		if fault := r.e.fault(r.p); (fault == "") != r.good {
			t.Errorf("%s: got %q, want good %v", r.name, fault, r.good)
		}
	}
}
