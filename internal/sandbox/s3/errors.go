package s3

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
	"github.com/rclone/gofakes3"
)

// The codes and their status are those of https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html

func noSuchBucket(name string) *wire.Error {
	return with(wire.Errorf(404, "NoSuchBucket", "The specified bucket does not exist"), "BucketName", name)
}

func bucketExists(name string) *wire.Error {
	return with(wire.Errorf(409, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it."), "BucketName", name)
}

func noSuchKey(key string) *wire.Error {
	return with(wire.Errorf(404, "NoSuchKey", "The specified key does not exist."), "Key", key)
}

func noSuchVersion(key, id string) *wire.Error {
	return with(wire.Errorf(404, "NoSuchVersion", "The specified version does not exist."), "Key", key, "VersionId", id)
}

func noSuchUpload(id string) *wire.Error {
	return with(wire.Errorf(404, "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."), "UploadId", id)
}

func preconditionFailed(condition string) *wire.Error {
	return with(wire.Errorf(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"), "Condition", condition)
}

func invalidArgument(name, value, format string, args ...any) *wire.Error {
	return with(wire.Errorf(400, "InvalidArgument", format, args...), "ArgumentName", name, "ArgumentValue", value)
}

func invalidRequest(format string, args ...any) *wire.Error {
	return wire.Errorf(400, "InvalidRequest", format, args...)
}

func invalidPart(n int, etag string) *wire.Error {
	return with(wire.Errorf(400, "InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."),
		"PartNumber", fmt.Sprint(n), "ETag", etag)
}

func invalidPartOrder(upload string) *wire.Error {
	return with(wire.Errorf(400, "InvalidPartOrder", "The list of parts was not in ascending order. The parts list must be specified in order by part number."), "UploadId", upload)
}

func malformedXML() *wire.Error {
	return wire.Errorf(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

func methodNotAllowed(r *request) *wire.Error {
	return with(wire.Errorf(405, "MethodNotAllowed", "The specified method is not allowed against this resource."), "Method", r.Method)
}

// accessDenied says what the caller lacks, as AWS does of explicit denials.
func accessDenied(principal, action, resource string) *wire.Error {
	return wire.Errorf(403, "AccessDenied", "User: %s is not authorized to perform: %s on resource: %q with an explicit deny in an identity-based policy", principal, action, resource)
}

// with adds elements, given as names and values in turn.
func with(e *wire.Error, fields ...string) *wire.Error {
	for i := 0; i < len(fields); i += 2 {
		e.Extra = append(e.Extra, wire.Field{Name: fields[i], Value: fields[i+1]})
	}
	return e
}

// answer turns any error into what the client is told.
func answer(err error) *wire.Error {
	var e *wire.Error
	if errors.As(err, &e) {
		return e
	}
	return wire.Errorf(500, "InternalError", "We encountered an internal error: %v", err)
}

// ofKMS is S3's wording of an error that KMS gave it.
func ofKMS(err error) *wire.Error {
	e := answer(err)
	name := strings.TrimSuffix(e.Code, "Exception")
	switch {
	case name == "AccessDenied":
		return wire.Errorf(403, "AccessDenied", "%s", e.Message)
	case name == "Throttling" || name == "LimitExceeded":
		return wire.Errorf(503, "SlowDown", "Please reduce your request rate: KMS: %s", e.Message)
	case e.Status >= 500:
		return wire.Errorf(500, "InternalError", "We encountered an internal error. Please try again. KMS: %s", e.Message)
	}
	return wire.Errorf(http.StatusBadRequest, "KMS."+e.Code, "%s", e.Message)
}

// foreign is an error as gofakes3 passes it on.
func foreign(err error) error {
	var known gofakes3.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	e := answer(err)
	return gofakes3.ErrorMessage(gofakes3.ErrorCode(e.Code), e.Message)
}
