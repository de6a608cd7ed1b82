package s3

import (
	"io"
	"net/http"
)

// A handler serves one operation.
type handler struct {
	action    string                                             // right that it takes
	versioned string                                             // right that it takes if a version is named; "" is the same
	creates   bool                                               // takes encryption headers
	handle    func(*Server, http.ResponseWriter, *request) error // nil: gofakes3 serves it
}

// operations are what the server can do. What is not here is refused, POST forms and UpdateObjectEncryption among it.
var operations = map[string]handler{
	"ListBuckets":            {action: "s3:ListAllMyBuckets"},
	"CreateBucket":           {action: "s3:CreateBucket", handle: (*Server).createBucket},
	"DeleteBucket":           {action: "s3:DeleteBucket"},
	"HeadBucket":             {action: "s3:ListBucket", handle: (*Server).headBucket},
	"GetBucketLocation":      {action: "s3:GetBucketLocation", handle: (*Server).getBucketLocation},
	"GetBucketVersioning":    {action: "s3:GetBucketVersioning"},
	"PutBucketVersioning":    {action: "s3:PutBucketVersioning"},
	"GetBucketEncryption":    {action: "s3:GetEncryptionConfiguration", handle: (*Server).getBucketEncryption},
	"PutBucketEncryption":    {action: "s3:PutEncryptionConfiguration", handle: (*Server).putBucketEncryption},
	"DeleteBucketEncryption": {action: "s3:PutEncryptionConfiguration", handle: (*Server).deleteBucketEncryption},
	"GetBucketAcl":           {action: "s3:GetBucketAcl"},

	"GetBucketPolicy":                  {action: "s3:GetBucketPolicy"},
	"GetBucketTagging":                 {action: "s3:GetBucketTagging"},
	"GetBucketLifecycleConfiguration":  {action: "s3:GetLifecycleConfiguration"},
	"GetBucketObjectLockConfiguration": {action: "s3:GetBucketObjectLockConfiguration"},
	"GetBucketPublicAccessBlock":       {action: "s3:GetBucketPublicAccessBlock"},
	"GetBucketOwnershipControls":       {action: "s3:GetBucketOwnershipControls"},

	"ListObjects":          {action: "s3:ListBucket"},
	"ListObjectsV2":        {action: "s3:ListBucket"},
	"ListObjectVersions":   {action: "s3:ListBucketVersions"},
	"ListMultipartUploads": {action: "s3:ListBucketMultipartUploads", handle: (*Server).listMultipartUploads},
	"DeleteObjects":        {handle: (*Server).deleteObjects}, // takes the right to each key

	"GetObject":    {action: "s3:GetObject", versioned: "s3:GetObjectVersion", handle: (*Server).getObject},
	"HeadObject":   {action: "s3:GetObject", versioned: "s3:GetObjectVersion", handle: (*Server).getObject},
	"PutObject":    {action: "s3:PutObject", creates: true, handle: (*Server).putObject},
	"CopyObject":   {action: "s3:PutObject", creates: true, handle: (*Server).copyObject},
	"DeleteObject": {action: "s3:DeleteObject", versioned: "s3:DeleteObjectVersion", handle: (*Server).deleteObject},
	"GetObjectAcl": {action: "s3:GetObjectAcl"},

	"GetObjectTagging":    {action: "s3:GetObjectTagging", versioned: "s3:GetObjectVersionTagging", handle: (*Server).getObjectTagging},
	"PutObjectTagging":    {action: "s3:PutObjectTagging", versioned: "s3:PutObjectVersionTagging", handle: (*Server).putObjectTagging},
	"DeleteObjectTagging": {action: "s3:DeleteObjectTagging", versioned: "s3:DeleteObjectVersionTagging", handle: (*Server).putObjectTagging},

	"CreateMultipartUpload":   {action: "s3:PutObject", creates: true, handle: (*Server).createMultipartUpload},
	"UploadPart":              {action: "s3:PutObject", handle: (*Server).uploadPart},
	"UploadPartCopy":          {action: "s3:PutObject", handle: (*Server).uploadPartCopy},
	"CompleteMultipartUpload": {action: "s3:PutObject", handle: (*Server).completeMultipartUpload},
	"AbortMultipartUpload":    {action: "s3:AbortMultipartUpload", handle: (*Server).abortMultipartUpload},
	"ListParts":               {action: "s3:ListMultipartUploadParts", handle: (*Server).listParts},
}

// drainLimit bounds what is read of a request that is refused.
const drainLimit = 64 << 20

func drain(body io.Reader) { _, _ = io.CopyN(io.Discard, body, drainLimit) }
