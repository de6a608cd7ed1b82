package s3_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
	"github.com/kmsfs/kmsfs/internal/sandbox/s3"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

var demo = aws.String("demo")

// TestEchoes pins which operations say what of the encryption. The source is the service model of AWS's SDKs: the
// outputs of PutObject, CopyObject and CreateMultipartUpload have a context, the others have not.
func TestEchoes(t *testing.T) {
	b := start(t, false, nil)
	pairs := aws.String(encodeContext(`{"team":"a b"}`))
	type echo struct {
		Algorithm    types.ServerSideEncryption
		Key, Context string
		BucketKey    bool
	}
	check := func(op string, context bool, sse types.ServerSideEncryption, key, pair *string, bucketKey *bool, err error) {
		t.Helper()
		must(t, err)
		want := echo{types.ServerSideEncryptionAwsKms, b.key, "", true}
		if context {
			want.Context = *pairs
		}
		got := echo{sse, aws.ToString(key), aws.ToString(pair), aws.ToBool(bucketKey)}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", op, d)
		}
	}
	ctx := bounded(t)
	in := b.input("a", []byte("x"))
	in.BucketKeyEnabled, in.SSEKMSEncryptionContext = aws.Bool(true), pairs
	put, err := b.client.PutObject(ctx, in)
	check("PutObject", true, put.ServerSideEncryption, put.SSEKMSKeyId, put.SSEKMSEncryptionContext, put.BucketKeyEnabled, err)
	copied, err := b.client.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: demo, Key: aws.String("b"), CopySource: aws.String("demo/a"),
		ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &b.key, BucketKeyEnabled: aws.Bool(true), SSEKMSEncryptionContext: pairs})
	check("CopyObject", true, copied.ServerSideEncryption, copied.SSEKMSKeyId, copied.SSEKMSEncryptionContext, copied.BucketKeyEnabled, err)
	created, err := b.client.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: demo, Key: aws.String("c"),
		ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &b.key, BucketKeyEnabled: aws.Bool(true), SSEKMSEncryptionContext: pairs})
	check("CreateMultipartUpload", true, created.ServerSideEncryption, created.SSEKMSKeyId, created.SSEKMSEncryptionContext, created.BucketKeyEnabled, err)
	part, err := b.client.UploadPart(ctx, &awss3.UploadPartInput{Bucket: demo, Key: aws.String("c"), UploadId: created.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(noise(5 << 20))})
	check("UploadPart", false, part.ServerSideEncryption, part.SSEKMSKeyId, nil, part.BucketKeyEnabled, err)
	second, err := b.client.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{Bucket: demo, Key: aws.String("c"), UploadId: created.UploadId, PartNumber: aws.Int32(2), CopySource: aws.String("demo/a")})
	check("UploadPartCopy", false, second.ServerSideEncryption, second.SSEKMSKeyId, nil, second.BucketKeyEnabled, err)
	done, err := b.client.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: demo, Key: aws.String("c"), UploadId: created.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{
			{PartNumber: aws.Int32(1), ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32},
			{PartNumber: aws.Int32(2), ETag: second.CopyPartResult.ETag, ChecksumCRC32: second.CopyPartResult.ChecksumCRC32}}}})
	check("CompleteMultipartUpload", false, done.ServerSideEncryption, done.SSEKMSKeyId, nil, done.BucketKeyEnabled, err)
	for _, key := range []string{"a", "b", "c"} {
		head := b.head(t, key)
		check("HeadObject", false, head.ServerSideEncryption, head.SSEKMSKeyId, nil, head.BucketKeyEnabled, nil)
		got, err := b.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: demo, Key: &key})
		check("GetObject", false, got.ServerSideEncryption, got.SSEKMSKeyId, nil, got.BucketKeyEnabled, err)
		got.Body.Close()
	}
}

func TestDefaults(t *testing.T) {
	b := start(t, false, nil)
	ctx := bounded(t)
	plainPut := func(key string, sse types.ServerSideEncryption, bucketKey *bool) *awss3.PutObjectOutput {
		t.Helper()
		out, err := b.client.PutObject(ctx, &awss3.PutObjectInput{Bucket: demo, Key: &key, Body: strings.NewReader("x"), ServerSideEncryption: sse, BucketKeyEnabled: bucketKey})
		must(t, err)
		return out
	}
	if out := plainPut("a", "", nil); out.ServerSideEncryption != types.ServerSideEncryptionAes256 || *out.ETag != `"9dd4e461268c8034f5c8564e155c67a6"` {
		t.Errorf("without any header: %s, ETag %s, want AES256 and the MD5", out.ServerSideEncryption, *out.ETag)
	}
	if out := plainPut("a", types.ServerSideEncryptionAwsKms, nil); out.SSEKMSKeyId == nil || *out.SSEKMSKeyId == b.key || *out.ETag == `"9dd4e461268c8034f5c8564e155c67a6"` {
		t.Errorf("without a key id: key %v and ETag %s, want the managed key and no MD5", out.SSEKMSKeyId, *out.ETag)
	}
	_, err := b.client.PutBucketEncryption(ctx, &awss3.PutBucketEncryptionInput{Bucket: demo, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
		Rules: []types.ServerSideEncryptionRule{{BucketKeyEnabled: aws.Bool(true), ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{
			SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: &b.key}}}}})
	must(t, err)
	if out := plainPut("a", "", nil); aws.ToString(out.SSEKMSKeyId) != b.key || !aws.ToBool(out.BucketKeyEnabled) {
		t.Errorf("the bucket's default is not applied: %+v", out)
	}
	if out := plainPut("a", "", aws.Bool(false)); aws.ToBool(out.BucketKeyEnabled) {
		t.Error("the bucket's bucket key is not overridden by the request")
	}
	if out := plainPut("a", types.ServerSideEncryptionAwsKms, nil); !aws.ToBool(out.BucketKeyEnabled) {
		t.Error("the bucket's bucket key setting does not apply to explicit aws:kms")
	}
	got, err := b.client.GetBucketEncryption(ctx, &awss3.GetBucketEncryptionInput{Bucket: demo})
	must(t, err)
	if rule := got.ServerSideEncryptionConfiguration.Rules[0]; aws.ToString(rule.ApplyServerSideEncryptionByDefault.KMSMasterKeyID) != b.key || !*rule.BucketKeyEnabled {
		t.Errorf("GetBucketEncryption: %+v", rule)
	}
	_, err = b.client.DeleteBucketEncryption(ctx, &awss3.DeleteBucketEncryptionInput{Bucket: demo})
	must(t, err)
	if out := plainPut("a", "", nil); out.ServerSideEncryption != types.ServerSideEncryptionAes256 {
		t.Errorf("after the default's end: %s", out.ServerSideEncryption)
	}
	dsse := plainPut("a", types.ServerSideEncryptionAwsKmsDsse, nil)
	if dsse.ServerSideEncryption != types.ServerSideEncryptionAwsKmsDsse || dsse.BucketKeyEnabled != nil {
		t.Errorf("DSSE: %+v", dsse)
	}
}

func TestRefusals(t *testing.T) {
	b := start(t, false, nil)
	disabled, pending := b.newKey(t), b.newKey(t)
	_, err := b.kms.DisableKey(t.Context(), &awskms.DisableKeyInput{KeyId: &disabled})
	must(t, err)
	_, err = b.kms.ScheduleKeyDeletion(t.Context(), &awskms.ScheduleKeyDeletionInput{KeyId: &pending})
	must(t, err)
	absent := strings.Replace(b.key, "key/", "key/0", 1)
	for _, c := range []struct {
		name   string
		edit   func(*awss3.PutObjectInput)
		status int
		code   string
	}{
		{"key id without aws:kms", func(in *awss3.PutObjectInput) { in.ServerSideEncryption = "" }, 400, "InvalidArgument"},
		{"key id with AES256", func(in *awss3.PutObjectInput) { in.ServerSideEncryption = "AES256" }, 400, "InvalidArgument"},
		{"unknown algorithm", func(in *awss3.PutObjectInput) { in.ServerSideEncryption = "aws:nothing"; in.SSEKMSKeyId = nil }, 400, "InvalidArgument"},
		{"context not base64", func(in *awss3.PutObjectInput) { in.SSEKMSEncryptionContext = aws.String("{}") }, 400, "InvalidArgument"},
		{"context not pairs of strings", func(in *awss3.PutObjectInput) { in.SSEKMSEncryptionContext = aws.String(encodeContext(`{"a":1}`)) }, 400, "InvalidArgument"},
		{"context of another object", func(in *awss3.PutObjectInput) {
			in.SSEKMSEncryptionContext = aws.String(encodeContext(`{"aws:s3:arn":"arn:aws:s3:::other"}`))
		}, 400, "InvalidArgument"},
		{"bucket key with DSSE", func(in *awss3.PutObjectInput) {
			in.ServerSideEncryption, in.BucketKeyEnabled = types.ServerSideEncryptionAwsKmsDsse, aws.Bool(true)
		}, 400, "InvalidArgument"},
		{"unknown key", func(in *awss3.PutObjectInput) { in.SSEKMSKeyId = &absent }, 400, "KMS.NotFoundException"},
		{"unknown key under a bucket key", func(in *awss3.PutObjectInput) { in.SSEKMSKeyId, in.BucketKeyEnabled = &absent, aws.Bool(true) }, 400, "KMS.NotFoundException"},
		{"unknown alias", func(in *awss3.PutObjectInput) { in.SSEKMSKeyId = aws.String("alias/none") }, 400, "KMS.NotFoundException"},
		{"disabled key", func(in *awss3.PutObjectInput) { in.SSEKMSKeyId = &disabled }, 400, "KMS.DisabledException"},
		{"key pending deletion", func(in *awss3.PutObjectInput) { in.SSEKMSKeyId = &pending }, 400, "KMS.KMSInvalidStateException"},
		{"asymmetric key", func(in *awss3.PutObjectInput) { in.SSEKMSKeyId = aws.String(b.asymmetric(t)) }, 400, ""},
		{"key of another region", func(in *awss3.PutObjectInput) {
			in.SSEKMSKeyId = aws.String(strings.Replace(b.key, "us-east-1", "eu-west-1", 1))
		}, 400, ""},
	} {
		in := b.input("new", []byte("x"))
		c.edit(in)
		_, err := b.client.PutObject(t.Context(), in)
		t.Run(c.name, func(t *testing.T) { fails(t, err, c.status, c.code) })
	}
	_, err = b.client.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: demo, Key: aws.String("new")})
	fails(t, err, 404, "NotFound")

}

// TestMisplacedHeaders: encryption headers belong on what creates, and on nothing else.
func TestMisplacedHeaders(t *testing.T) {
	b := start(t, false, nil)
	b.put(t, "there", []byte("x"))
	sse := header("x-amz-server-side-encryption", "aws:kms")
	ctx := bounded(t)
	for name, call := range map[string]func() error{
		"GetObject": func() error {
			_, err := b.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: demo, Key: aws.String("there")}, sse)
			return err
		},
		"HeadObject": func() error {
			_, err := b.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: demo, Key: aws.String("there")}, sse)
			return err
		},
		"ListObjectsV2": func() error {
			_, err := b.client.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: demo}, sse)
			return err
		},
		"UploadPart": func() error {
			_, err := b.client.UploadPart(ctx, &awss3.UploadPartInput{Bucket: demo, Key: aws.String("there"), UploadId: aws.String("x"), PartNumber: aws.Int32(1), Body: strings.NewReader("x")}, sse)
			return err
		},
		"CompleteMultipartUpload": func() error {
			_, err := b.client.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: demo, Key: aws.String("there"), UploadId: aws.String("x")}, sse)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { fails(t, call(), 400, "") })
	}
}

func TestRequireTLS(t *testing.T) {
	b := start(t, true, func(o *s3.Options) { o.RequireTLS = true })
	_, err := b.client.PutObject(t.Context(), b.input("a", []byte("x")))
	fails(t, err, 400, "InvalidArgument")
	_, err = b.client.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: demo, Key: aws.String("a"), Body: strings.NewReader("x")})
	must(t, err)
}

func TestCallsOfKMS(t *testing.T) {
	b := start(t, false, nil)
	b.put(t, "a", []byte("x"))
	b.count(t, "put", 1, 0)
	b.head(t, "a")
	b.count(t, "head", 0, 0)
	b.get(t, "a", "")
	b.get(t, "a", "bytes=0-0")
	b.count(t, "two gets", 0, 2)
	b.upload(t, &awss3.CreateMultipartUploadInput{Key: aws.String("m")}, noise(5<<20), noise(1))
	b.count(t, "upload of two parts", 1, 3)

	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			in := b.input("k"+string(rune('a'+i)), []byte("x"))
			in.BucketKeyEnabled = aws.Bool(true)
			if _, err := b.client.PutObject(t.Context(), in); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	b.get(t, "ka", "")
	b.count(t, "64 puts at once and a get with a bucket key", 1, 0)
	in := b.input("other context", []byte("x"))
	in.BucketKeyEnabled, in.SSEKMSEncryptionContext = aws.Bool(true), aws.String(encodeContext(`{"a":"b"}`))
	_, err := b.client.PutObject(t.Context(), in)
	must(t, err)
	want := []map[string]string{{"aws:s3:arn": "arn:aws:s3:::demo", "a": "b"}}
	if d := cmp.Diff(want, b.contexts("GenerateDataKey")); d != "" {
		t.Errorf("context with a bucket key: %s", d)
	}
	b.count(t, "another context", 1, 0)
	b.FlushBucketKeys()
	b.get(t, "ka", "")
	b.get(t, "kb", "")
	b.count(t, "two gets after the period", 0, 1)
	b.put(t, "p q", []byte("x"))
	if d := cmp.Diff([]map[string]string{{"aws:s3:arn": "arn:aws:s3:::demo/p q"}}, b.contexts("GenerateDataKey")); d != "" {
		t.Errorf("context without a bucket key: %s", d)
	}
}

// contexts returns the encryption contexts of the logged calls of op.
func (b *sandbox) contexts(op string) (all []map[string]string) {
	for _, r := range b.log.Requests() {
		if r.Op == op {
			all = append(all, r.Context)
		}
	}
	return all
}

func TestDenials(t *testing.T) {
	b := start(t, false, nil)
	ctx := bounded(t)
	in := b.input("bk", []byte("x"))
	in.BucketKeyEnabled = aws.Bool(true)
	_, err := b.client.PutObject(ctx, in)
	must(t, err)
	b.put(t, "a", []byte("x"))
	get := func(key string) error {
		out, err := b.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: demo, Key: &key})
		if err == nil {
			out.Body.Close()
		}
		return err
	}
	for action, call := range map[string]func() error{
		"kms:GenerateDataKey": func() error { _, err := b.client.PutObject(ctx, b.input("b", nil)); return err },
		"kms:Decrypt":         func() error { return get("a") },
		"s3:PutObject":        func() error { _, err := b.client.PutObject(ctx, b.input("b", nil)); return err },
		"s3:GetObject":        func() error { return get("a") },
		"s3:ListBucket":       func() error { return get("absent") },
		"s3:DeleteObject": func() error {
			_, err := b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: demo, Key: aws.String("a")})
			return err
		},
	} {
		undo := b.denials.Deny(action, "")
		err := call()
		undo()
		t.Run(action, func(t *testing.T) { fails(t, err, 403, "AccessDenied") })
	}
	undo := b.denials.Deny("kms:Decrypt", b.key)
	fails(t, get("bk"), 403, "AccessDenied")
	undo()
	must(t, get("bk"))
	fails(t, get("absent"), 404, "NoSuchKey")
}

func TestThrottledKMSIsSlowDown(t *testing.T) {
	b := start(t, false, nil)
	rule := b.faults.Add(wire.Fault{Op: "GenerateDataKey", Times: 1, Kind: wire.Answer, Status: 400, Code: "ThrottlingException"})
	_, err := b.client.PutObject(t.Context(), b.input("a", []byte("x")))
	fails(t, err, http.StatusServiceUnavailable, "SlowDown")
	if rule.Hits() != 1 {
		t.Errorf("%d faults, want 1", rule.Hits())
	}
	b.put(t, "a", []byte("x"))
}

func TestViolations(t *testing.T) {
	b := start(t, false, nil)
	b.Expect(&s3.Expectation{Algorithm: "aws:kms", KeyID: b.key, BucketKey: "true"})
	in := b.input("good", []byte("x"))
	in.BucketKeyEnabled = aws.Bool(true)
	_, err := b.client.PutObject(t.Context(), in)
	must(t, err)
	if v := b.Violations(); len(v) != 0 {
		t.Errorf("violations of a good request: %q", v)
	}
	b.put(t, "bad", []byte("x"))
	_, err = b.client.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: demo, Key: aws.String("worse")})
	must(t, err)
	want := []string{
		`PutObject demo/bad: x-amz-server-side-encryption-bucket-key-enabled is "", expected "true"`,
		`CreateMultipartUpload demo/worse: x-amz-server-side-encryption is "", expected "aws:kms"`,
		`CreateMultipartUpload demo/worse: x-amz-server-side-encryption-aws-kms-key-id is "", expected "` + b.key + `"`,
		`CreateMultipartUpload demo/worse: x-amz-server-side-encryption-bucket-key-enabled is "", expected "true"`,
	}
	if d := cmp.Diff(want, b.Violations()); d != "" {
		t.Error(d)
	}
}

func (b *sandbox) newKey(t *testing.T) string {
	t.Helper()
	out, err := b.kms.CreateKey(t.Context(), &awskms.CreateKeyInput{})
	must(t, err)
	return *out.KeyMetadata.Arn
}

// TestContextIsNotReadBack makes sure that nothing but the creating answers discloses the context.
func TestContextIsNotReadBack(t *testing.T) {
	b := start(t, false, nil)
	in := b.input("a", []byte("x"))
	in.SSEKMSEncryptionContext = aws.String(encodeContext(`{"secret":"no"}`))
	_, err := b.client.PutObject(t.Context(), in)
	must(t, err)
	out, err := awss3.NewPresignClient(b.client).PresignGetObject(t.Context(), &awss3.GetObjectInput{Bucket: demo, Key: aws.String("a")})
	must(t, err)
	answer, err := b.http.Get(out.URL)
	must(t, err)
	defer answer.Body.Close()
	names := []string{}
	for name := range answer.Header {
		if strings.Contains(name, "Encryption") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if d := cmp.Diff([]string{"X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"}, names); d != "" || answer.StatusCode != 200 {
		t.Errorf("presigned GET: %d: %s", answer.StatusCode, d)
	}
}
