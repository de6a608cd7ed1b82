package s3

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// The headers of server-side encryption, and the algorithms that they may name.
const (
	headerSSE       = "X-Amz-Server-Side-Encryption"
	headerKeyID     = "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	headerContext   = "X-Amz-Server-Side-Encryption-Context"
	headerBucketKey = "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled"

	sseS3   = "AES256"
	sseKMS  = "aws:kms"
	sseDSSE = "aws:kms:dsse"
)

// A wish is the encryption that a creating request asks for, with the bucket's defaults filled in.
type wish struct {
	algorithm string
	keyID     string // as given
	bucketKey bool
	context   string            // as given
	pairs     map[string]string // what context holds
}

// refuseSSE refuses encryption headers where the operation takes none.
func refuseSSE(h http.Header) error {
	for name := range h {
		if strings.HasPrefix(name, headerSSE) || strings.HasPrefix(name, "X-Amz-Copy-Source-Server-Side-Encryption") {
			lower := strings.ToLower(name)
			if strings.Contains(lower, "-customer-") {
				return wire.Errorf(501, "NotImplemented", "The sandbox has no SSE-C: %s", lower)
			}
			return invalidArgument(lower, h.Get(name), "%s header is not supported for this operation.", lower)
		}
	}
	return nil
}

// wished reads the encryption headers of a creating request.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
func wished(h http.Header, defaults Encryption) (wish, error) {
	w := wish{algorithm: h.Get(headerSSE), keyID: h.Get(headerKeyID), context: h.Get(headerContext), bucketKey: defaults.BucketKey}
	for name := range h {
		if strings.Contains(name, "-Server-Side-Encryption-Customer-") {
			return w, wire.Errorf(501, "NotImplemented", "The sandbox has no SSE-C: %s", strings.ToLower(name))
		}
	}
	kms := w.algorithm == sseKMS || w.algorithm == sseDSSE
	for _, name := range []string{headerKeyID, headerContext} {
		if v := h.Get(name); v != "" && !kms {
			return w, invalidArgument(strings.ToLower(name), v, "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms")
		}
	}
	switch w.algorithm {
	case "":
		w.algorithm, w.keyID = defaults.Algorithm, defaults.KeyID
	case sseS3, sseKMS, sseDSSE:
	default:
		return w, invalidArgument("x-amz-server-side-encryption", w.algorithm, "The encryption method specified is not supported")
	}
	if err := w.readBucketKey(h.Get(headerBucketKey)); err != nil {
		return w, err
	}
	return w, w.readContext()
}

func (w *wish) readBucketKey(value string) error {
	switch strings.ToLower(value) {
	case "":
	case "true":
		w.bucketKey = true
		if w.algorithm == sseDSSE {
			return invalidArgument("x-amz-server-side-encryption-bucket-key-enabled", value, "S3 Bucket Keys are not supported with aws:kms:dsse")
		}
	case "false":
		w.bucketKey = false
	default:
		return invalidArgument("x-amz-server-side-encryption-bucket-key-enabled", value, "The bucket key setting must be true or false")
	}
	w.bucketKey = w.bucketKey && w.algorithm == sseKMS
	return nil
}

func (w *wish) readContext() error {
	if w.context == "" {
		return nil
	}
	text, err := base64.StdEncoding.DecodeString(w.context)
	if err == nil {
		err = json.Unmarshal(text, &w.pairs)
	}
	if err != nil || len(w.pairs) == 0 {
		return invalidArgument("x-amz-server-side-encryption-context", w.context, "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map")
	}
	return nil
}

// echo sets the headers by which every answer about an encrypted object says how. The context appears only in the
// answers of PutObject, CopyObject and CreateMultipartUpload: see created.
func (s seal) echo(h http.Header) {
	h.Set(headerSSE, s.Algorithm)
	if s.KeyID != "" {
		h.Set(headerKeyID, s.KeyID)
	}
	if s.BucketKey {
		h.Set(headerBucketKey, "true")
	}
}

// created is echo for operations that take encryption headers.
func (s seal) created(h http.Header) {
	s.echo(h)
	if s.Context != "" {
		h.Set(headerContext, s.Context)
	}
}
