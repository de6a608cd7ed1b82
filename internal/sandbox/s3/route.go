package s3

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// A request is one call, taken apart.
type request struct {
	*http.Request
	Op, Bucket, Key string
	query           url.Values
	caller          wire.Principal
}

// version is the version ID that the query names; empty if none.
func (r *request) version() string { return r.query.Get("versionId") }

// classify names the operation, the bucket and the key of a request.
func (s *Server) classify(r *http.Request) wire.Call {
	bucket, key := s.target(r)
	return wire.Call{Op: operation(r, r.URL.Query(), bucket != "", key != ""), Bucket: bucket, Key: key}
}

// target finds bucket and key: in the path, or the bucket in the host name if that is below one of the server's.
func (s *Server) target(r *http.Request) (bucket, key string) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	for _, domain := range s.domains {
		if bucket, ok := strings.CutSuffix(host, "."+domain); ok {
			return bucket, path
		}
	}
	bucket, key, _ = strings.Cut(path, "/")
	return bucket, key
}

// operation returns the name that AWS gives to the request.
func operation(r *http.Request, q url.Values, bucket, object bool) string {
	switch {
	case object:
		return objectOperation(r, q)
	case bucket:
		return bucketOperation(r.Method, q)
	case r.Method == http.MethodGet:
		return "ListBuckets"
	}
	return "Unknown"
}

func bucketOperation(method string, q url.Values) string {
	if method == http.MethodHead {
		return "HeadBucket"
	}
	if method == http.MethodPost {
		if q.Has("delete") {
			return "DeleteObjects"
		}
		return "PostObject"
	}
	verb, ok := map[string]string{http.MethodGet: "Get", http.MethodPut: "Put", http.MethodDelete: "Delete"}[method]
	switch {
	case !ok:
		return "Unknown"
	case method == http.MethodGet && q.Has("uploads"):
		return "ListMultipartUploads"
	case method == http.MethodGet && q.Has("versions"):
		return "ListObjectVersions"
	}
	for sub, name := range map[string]string{"encryption": "Encryption", "versioning": "Versioning", "location": "Location",
		"acl": "Acl", "policy": "Policy", "tagging": "Tagging", "lifecycle": "LifecycleConfiguration", "cors": "Cors",
		"object-lock": "ObjectLockConfiguration", "publicAccessBlock": "PublicAccessBlock", "ownershipControls": "OwnershipControls"} {
		if q.Has(sub) {
			return verb + "Bucket" + name
		}
	}
	switch {
	case method == http.MethodPut:
		return "CreateBucket"
	case method == http.MethodDelete:
		return "DeleteBucket"
	case q.Get("list-type") == "2":
		return "ListObjectsV2"
	}
	return "ListObjects"
}

func objectOperation(r *http.Request, q url.Values) string {
	upload, copied := q.Has("uploadId"), r.Header.Get("X-Amz-Copy-Source") != ""
	verb := map[string]string{http.MethodGet: "Get", http.MethodPut: "Put", http.MethodDelete: "Delete"}[r.Method]
	for sub, name := range map[string]string{"tagging": "ObjectTagging", "acl": "ObjectAcl", "attributes": "ObjectAttributes",
		"retention": "ObjectRetention", "legal-hold": "ObjectLegalHold"} {
		if q.Has(sub) && verb != "" {
			return verb + name
		}
	}
	switch {
	case r.Method == http.MethodPut && q.Has("encryption"):
		return "UpdateObjectEncryption"
	case r.Method == http.MethodPut && upload && copied:
		return "UploadPartCopy"
	case r.Method == http.MethodPut && upload:
		return "UploadPart"
	case r.Method == http.MethodPut && copied:
		return "CopyObject"
	case r.Method == http.MethodPut:
		return "PutObject"
	case r.Method == http.MethodGet && upload:
		return "ListParts"
	case r.Method == http.MethodGet:
		return "GetObject"
	case r.Method == http.MethodHead:
		return "HeadObject"
	case r.Method == http.MethodDelete && upload:
		return "AbortMultipartUpload"
	case r.Method == http.MethodDelete:
		return "DeleteObject"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "CreateMultipartUpload"
	case r.Method == http.MethodPost && upload:
		return "CompleteMultipartUpload"
	}
	return "Unknown"
}

// Classify names the operation, the bucket and the key of a request in path style, for proxies in front of any S3.
func Classify(r *http.Request) wire.Call { return (&Server{}).classify(r) }
