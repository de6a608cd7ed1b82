package s3io

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Names of the headers that the guard knows.
const (
	headerPrefix    = "X-Amz-Server-Side-Encryption"
	headerSSE       = headerPrefix
	headerKeyID     = headerPrefix + "-Aws-Kms-Key-Id"
	headerContext   = headerPrefix + "-Context"
	headerBucketKey = headerPrefix + "-Bucket-Key-Enabled"
	headerCommit    = "X-Amz-Meta-Kmsfs-Commit" // commitKey in its canonical form
)

// commitKey is the user metadata that names the commit which made an object.
const commitKey = "kmsfs-commit"

// effect is what an operation does to the bucket.
type effect uint8

const (
	forbidden effect = iota // kmsfs has no business with it
	reads
	creates // carries the SSE headers
	changes // everything else that is refused on a read-only mount
)

// effectOf lists every operation that kmsfs may send. An operation that is not
// here is refused, so that no way of creating objects is ever added past the
// policy.
func effectOf(op string) effect {
	switch op {
	case "PutObject", "CopyObject", "CreateMultipartUpload":
		return creates
	case "UploadPart", "UploadPartCopy", "CompleteMultipartUpload", "AbortMultipartUpload", "DeleteObject":
		return changes
	case "HeadBucket", "HeadObject", "GetObject", "ListObjectsV2", "ListObjectVersions",
		"ListMultipartUploads", "ListParts", "GetBucketEncryption", "GetBucketVersioning",
		"GetBucketOwnershipControls", "GetObjectTagging", "GetObjectAcl":
		return reads
	}
	return forbidden
}

// guardError is a request that was not sent.
type guardError struct{ op, reason string }

func (e *guardError) Error() string { return fmt.Sprintf("%s was not sent: %s", e.op, e.reason) }

// addGuard puts the guard right before the signature: nothing that is signed
// escapes it, and nothing that it saw can change unnoticed afterwards.
func (b *Bucket) addGuard(stack *middleware.Stack) error {
	return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("kmsfsGuard", func(
		ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler,
	) (middleware.FinalizeOutput, middleware.Metadata, error) {
		op := awsmiddleware.GetOperationName(ctx)
		req, ok := in.Request.(*smithyhttp.Request)
		if !ok {
			return middleware.FinalizeOutput{}, middleware.Metadata{}, &guardError{op, "it is no HTTP request"}
		}
		reason := guard(op, req.Header, b.wanted(), b.opts.ReadOnly)
		if reason == "" && b.sealing() {
			reason = guardBody(op, req)
		}
		if reason != "" {
			return middleware.FinalizeOutput{}, middleware.Metadata{}, &guardError{op, reason}
		}
		return next.HandleFinalize(ctx, in)
	}), "Signing", middleware.Before)
}

// guard says why a request must not be sent; "" lets it pass. It looks at the
// headers as they will be signed and knows nothing of how they came about.
func guard(op string, h http.Header, want sse, readOnly bool) string {
	switch what := effectOf(op); {
	case what == forbidden:
		return "kmsfs does not use this operation"
	case what != reads && readOnly:
		return "the mount is read-only"
	case what != creates:
		for name := range h {
			if strings.HasPrefix(http.CanonicalHeaderKey(name), headerPrefix) {
				return name + " belongs on creating requests only"
			}
		}
		return ""
	}
	bucketKey := ""
	if want.bucketKey != nil {
		bucketKey = fmt.Sprint(*want.bucketKey)
	}
	demanded := map[string]string{
		headerSSE: want.algorithm, headerKeyID: want.keyID, headerContext: want.context, headerBucketKey: bucketKey,
	}
	for _, name := range []string{headerSSE, headerKeyID, headerContext, headerBucketKey} {
		if got := strings.Join(h.Values(name), ","); got != demanded[name] {
			return fmt.Sprintf("the policy demands %s %q, the request has %q", name, demanded[name], got)
		}
	}
	for name := range h {
		canonical := http.CanonicalHeaderKey(name)
		if _, known := demanded[canonical]; !known && strings.HasPrefix(canonical, headerPrefix) {
			return canonical + " is no part of the policy"
		}
	}
	if h.Get(headerCommit) == "" {
		return "it carries no commit id"
	}
	return ""
}
