package s3io

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// codes says what S3's error codes mean to us. KMS.* are what S3 says for KMS.
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
var codes = map[string]Kind{
	"NoSuchKey": NotExist, "NotFound": NotExist, "NoSuchBucket": NotExist,
	"NoSuchUpload": NotExist, "NoSuchVersion": NotExist,

	"AccessDenied": Permission, "AllAccessDisabled": Permission, "AccountProblem": Permission,
	"InvalidAccessKeyId": Permission, "SignatureDoesNotMatch": Permission, "Forbidden": Permission,
	"ExpiredToken": Permission, "InvalidToken": Permission, "RequestTimeTooSkewed": Permission,
	"KMS.AccessDeniedException": Permission, "AccessDeniedException": Permission,

	"KMS.DisabledException": KeyDisabled, "KMS.KMSInvalidStateException": KeyDisabled,
	"KMS.NotFoundException":        KeyNotFound,
	"KMS.InvalidKeyUsageException": KeyRejected, "KMS.IncorrectKeyException": KeyRejected,
	"KMS.InvalidCiphertextException": KeyRejected,

	"BadDigest": Integrity, "InvalidDigest": Integrity, "XAmzContentSHA256Mismatch": Integrity,
	"XAmzContentChecksumMismatch": Integrity,

	"PreconditionFailed": Stale, "ConditionalRequestConflict": Stale, "OperationAborted": Stale,

	"EntityTooLarge": TooLarge, "KeyTooLongError": NameTooLong, "MetadataTooLarge": NoSpace,
	"InvalidObjectState": Unsupported, "NotImplemented": Unsupported, "MethodNotAllowed": Unsupported,

	"PermanentRedirect": Misconfigured, "AuthorizationHeaderMalformed": Misconfigured,
	"IllegalLocationConstraintException": Misconfigured, "InvalidBucketName": Misconfigured,
	"RequestTimeout": Timeout,
}

// statuses serve answers without a body, as to HEAD, and unknown codes.
var statuses = map[int]Kind{
	http.StatusNotFound:           NotExist,
	http.StatusForbidden:          Permission,
	http.StatusUnauthorized:       Permission,
	http.StatusPreconditionFailed: Stale,
	http.StatusConflict:           Stale,
	http.StatusNotImplemented:     Unsupported,
	http.StatusMethodNotAllowed:   Unsupported,
	http.StatusMovedPermanently:   Misconfigured,
}

// hints says what the user can do about some codes.
var hints = map[string]string{
	"KMS.DisabledException":          "enable the key with `aws kms enable-key`",
	"KMS.KMSInvalidStateException":   "cancel the key's deletion with `aws kms cancel-key-deletion`, then enable it",
	"KMS.NotFoundException":          "the key must exist in the bucket's region; a key of another account needs its full ARN",
	"KMS.InvalidKeyUsageException":   "SSE-KMS takes symmetric encryption keys only",
	"RequestTimeTooSkewed":           "set this machine's clock",
	"ExpiredToken":                   "renew the credentials",
	"InvalidAccessKeyId":             "check the credentials, or --profile",
	"SignatureDoesNotMatch":          "check the secret access key",
	"InvalidObjectState":             "the object is archived: restore it with `aws s3api restore-object` first",
	"MetadataTooLarge":               "S3 takes 2 KiB of user metadata for an object",
	"KMS.IncorrectKeyException":      "the object was encrypted under another key",
	"AuthorizationHeaderMalformed":   "check --region",
	"PermanentRedirect":              "check --region",
	"KMS.InvalidCiphertextException": "the object's key or encryption context does not fit",
}

// classify is the one place where a foreign error becomes an Error. ctx is the
// operation's: its cause tells a deadline from an interrupt. It returns nil for
// nil, and an Error as it is.
func classify(ctx context.Context, op, key string, err error) error {
	if err == nil {
		return nil
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		return err
	}
	kind, hint := kindOf(ctx, err)
	return &Error{Kind: kind, Op: op, Key: key, Hint: hint, Err: plain(ctx, err)}
}

func kindOf(ctx context.Context, err error) (Kind, string) {
	var credentials *credentialsError
	var over *deadlineError
	switch {
	case errors.As(err, &credentials):
		return Misconfigured, credentials.Hint()
	case errors.As(err, &over):
		return Timeout, ""
	}
	if ended(err) {
		switch cause := context.Cause(ctx); {
		case timedOut(cause):
			return Timeout, ""
		case cause != nil:
			return Interrupted, ""
		}
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		if k, ok := codes[api.ErrorCode()]; ok {
			return k, hints[api.ErrorCode()]
		}
	}
	if k, ok := statuses[status(err)]; ok {
		return k, ""
	}
	if untrusted(err) {
		return Misconfigured, "name the certificate authority with --ca-bundle"
	}
	if timedOut(err) {
		return Timeout, ""
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return Misconfigured, "" // a local file, such as a token of the credential chain
	}
	return Other, ""
}

// plain replaces the SDK's wording of an ended context by its cause.
func plain(ctx context.Context, err error) error {
	var over *deadlineError
	switch {
	case ended(err) && context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case errors.As(err, &over):
		return err
	}
	return brief(err)
}

// brief drops the SDK's layers around an answer, keeping code, message and
// request id; what has no answer stays as it is.
func brief(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	b := &answerError{cause: err, code: api.ErrorCode(), message: api.ErrorMessage(), status: status(err)}
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) {
		b.request = resp.ServiceRequestID()
	}
	return b
}

// answerError prints a server's refusal in one line.
type answerError struct {
	cause                  error
	code, message, request string
	status                 int
}

func (e *answerError) Error() string {
	s := fmt.Sprintf("server answered %d %s", e.status, e.code)
	if e.message != "" && e.message != e.code {
		s += ": " + e.message
	}
	if e.request != "" {
		s += " (request " + e.request + ")"
	}
	return s
}

func (e *answerError) Unwrap() error { return e.cause }

// ended reports whether err is what an ended context made of a request.
func ended(err error) bool {
	var canceled interface{ CanceledError() bool }
	return errors.As(err, &canceled) && canceled.CanceledError() ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errClosed)
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// untrusted reports whether the server's certificate was not accepted, which
// no retry heals.
func untrusted(err error) bool {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}

// status returns the HTTP status that err came with; 0 if there was no answer.
func status(err error) int {
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) {
		return resp.HTTPStatusCode()
	}
	return 0
}

// code returns the error code that the server answered; "" if none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// misuse is an option that the user must change.
func misuse(what, remedy string) error {
	return &Error{Kind: Misconfigured, Op: "open", Hint: remedy, Err: errors.New(what)}
}
