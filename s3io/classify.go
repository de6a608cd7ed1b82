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

// elsewhere is the remedy where the server is not the one to ask.
const elsewhere = "check --region and --endpoint-url"

// ofCode says what S3's error codes mean to us, and what the user can do about
// some. KMS.* are what S3 says for KMS.
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func ofCode(code string) (Kind, string) {
	switch code {
	case "NoSuchKey", "NotFound", "NoSuchBucket", "NoSuchUpload", "NoSuchVersion":
		return NotExist, ""
	case "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AccountProblem", "Forbidden", "KMS.AccessDeniedException":
		return Permission, ""
	case "InvalidAccessKeyId":
		return Permission, "check the credentials, or --profile"
	case "SignatureDoesNotMatch":
		return Permission, "check the secret access key"
	case "ExpiredToken", "InvalidToken":
		return Permission, "renew the credentials"
	case "RequestTimeTooSkewed":
		return Permission, "set this machine's clock"
	case "KMS.DisabledException":
		return KeyDisabled, "enable the key with `aws kms enable-key`"
	case "KMS.KMSInvalidStateException":
		return KeyDisabled, "cancel the key's deletion with `aws kms cancel-key-deletion`, then enable it"
	case "KMS.NotFoundException":
		return KeyNotFound, "the key must exist in the bucket's region; a key of another account needs its full ARN"
	case "KMS.InvalidKeyUsageException":
		return KeyRejected, "SSE-KMS takes symmetric encryption keys only"
	case "KMS.IncorrectKeyException":
		return KeyRejected, "the object was encrypted under another key"
	case "KMS.InvalidCiphertextException":
		return KeyRejected, "the object's key or encryption context does not fit"
	case "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch":
		return Integrity, ""
	case "PreconditionFailed", "ConditionalRequestConflict", "OperationAborted":
		return Stale, ""
	case "EntityTooLarge":
		return TooLarge, ""
	case "KeyTooLongError":
		return NameTooLong, ""
	case "MetadataTooLarge":
		return NoSpace, "S3 takes 2 KiB of user metadata for an object"
	case "InvalidObjectState":
		return Unsupported, "the object is archived: restore it with `aws s3api restore-object` first"
	case "NotImplemented", "MethodNotAllowed":
		return Unsupported, ""
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return Misconfigured, elsewhere
	case "InvalidBucketName":
		return Misconfigured, "check the bucket's name"
	case "RequestTimeout":
		return Timeout, ""
	}
	return Other, ""
}

// ofStatus serves answers without a body, as to HEAD, and unknown codes.
func ofStatus(status int) Kind {
	switch status {
	case http.StatusNotFound:
		return NotExist
	case http.StatusForbidden, http.StatusUnauthorized:
		return Permission
	case http.StatusPreconditionFailed, http.StatusConflict:
		return Stale
	case http.StatusNotImplemented, http.StatusMethodNotAllowed:
		return Unsupported
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return Misconfigured
	}
	return Other
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
	if kind, hint := ofCode(code(err)); kind != Other {
		return kind, hint
	}
	if kind := ofStatus(status(err)); kind == Misconfigured || redirected(err) != nil {
		return Misconfigured, elsewhere
	} else if kind != Other {
		return kind, ""
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
