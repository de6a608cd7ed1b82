package sandbox

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

func generate(ctx context.Context, c *awskms.Client) error {
	_, err := c.GenerateDataKey(ctx, &awskms.GenerateDataKeyInput{KeyId: aws.String(KeyAlias), KeySpec: kmstypes.DataKeySpecAes256})
	return err
}

// TestKMSOutage turns KMS off and on under a client that has a connection, and
// has S3 go on.
func TestKMSOutage(t *testing.T) {
	for name, o := range map[string]Options{"plain": {}, "tls": {TLS: true}} {
		t.Run(name, func(t *testing.T) {
			s, ctx := start(t, o), testContext(t)
			s3c, kmsc := clients(t, s, user())
			for range 3 {
				if err := generate(ctx, kmsc); err != nil {
					t.Fatal(err)
				}
				if err := s.StopKMS(); err != nil {
					t.Fatal(err)
				}
				if err := generate(ctx, kmsc); err == nil {
					t.Error("KMS answers in an outage")
				}
				if err := generate(ctx, kmsc); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("a new connection: %v", err)
				}
				if _, err := putKMS(ctx, s3c, "key", "content"); err != nil {
					t.Errorf("S3 has no KMS: %v", err)
				}
				if err := s.StartKMS(); err != nil {
					t.Fatal(err)
				}
			}
			if err := generate(ctx, kmsc); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestKMSFaults has KMS fail for clients in every way, before and after what
// was asked for is done, while S3 goes on.
func TestKMSFaults(t *testing.T) {
	s, ctx := start(t, Options{}), testContext(t)
	s3c, kmsc := clients(t, s, user())
	aliases := func() int {
		out, err := kmsc.ListAliases(ctx, &awskms.ListAliasesInput{})
		if err != nil {
			t.Fatal(err)
		}
		return len(out.Aliases)
	}
	before := aliases()
	for i, c := range []struct {
		fault   wire.Fault
		applied bool
		code    string // "" is none: the connection is torn
	}{
		{wire.Fault{Kind: wire.Answer, Status: 400, Code: "ThrottlingException"}, false, "ThrottlingException"},
		{wire.Fault{Kind: wire.AnswerAfter, Code: "KMSInternalException"}, true, "KMSInternalException"},
		{wire.Fault{Kind: wire.ResetBefore}, false, ""},
		{wire.Fault{Kind: wire.ResetAfter}, true, ""},
	} {
		name := "alias/" + string(rune('a'+i))
		c.fault.Service = "kms"
		rule := s.Faults.Add(c.fault)
		_, err := kmsc.CreateAlias(ctx, &awskms.CreateAliasInput{AliasName: &name, TargetKeyId: aws.String(s.KMS.KeyARN(OtherAlias))})
		var api smithy.APIError
		if err == nil || errors.As(err, &api) != (c.code != "") || c.code != "" && api.ErrorCode() != c.code {
			t.Errorf("fault %d: %v", i, err)
		}
		s.S3.FlushBucketKeys()
		if _, err := putKMS(ctx, s3c, "key", "content"); err != nil {
			t.Errorf("fault %d: S3 has no KMS: %v", i, err)
		}
		rule.Remove()
		if c.applied {
			before++
		}
		if n := aliases(); n != before {
			t.Errorf("fault %d: %d aliases, want %d", i, n, before)
		}
	}
	slow := s.Faults.Add(wire.Fault{Service: "kms", Kind: wire.Slow, Delay: 50 * time.Millisecond})
	begun := time.Now()
	if err := generate(ctx, kmsc); err != nil || time.Since(begun) < 50*time.Millisecond || slow.Hits() != 1 {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
	slow.Remove()
	s.Faults.Add(wire.Fault{Service: "kms", Kind: wire.Hang})
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := generate(short, kmsc); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a KMS that hangs: %v", err)
	}
}

// TestTapOfPlaintext puts a marked file in the clear, in one piece, in parts
// and in metadata, and finds it; sealed it is not found.
func TestTapOfPlaintext(t *testing.T) {
	marked, sealed := make([]byte, 1<<20), make([]byte, 1<<20)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(marked)
	_, _ = r.Read(sealed)
	s, ctx := start(t, Options{TLS: true}), testContext(t)
	s3c, _ := clients(t, s, user())
	search, err := wire.NewSearch(marked)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Taps.Add(search.Tap)()
	put := func(meta string, body []byte) {
		t.Helper()
		if _, err := s3c.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String(Bucket), Key: aws.String("key"), Body: bytes.NewReader(body), Metadata: map[string]string{"m": meta}}); err != nil {
			t.Fatal(err)
		}
	}
	if put("x", sealed); len(search.Found()) != 0 || search.Seen() < int64(len(sealed)) {
		t.Errorf("found %q in %d bytes", search.Found(), search.Seen())
	}
	put("x", marked[1000:])
	made, err := s3c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: aws.String(Bucket), Key: aws.String("key")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s3c.UploadPart(ctx, &awss3.UploadPartInput{Bucket: aws.String(Bucket), Key: aws.String("key"), UploadId: made.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(append(sealed[:9999:9999], marked[7:30]...))}); err != nil {
		t.Fatal(err)
	}
	put(base64.URLEncoding.EncodeToString(marked[100:120]), sealed)
	if got := search.Found(); len(got) != 3 {
		t.Errorf("found %q", got)
	}
}
