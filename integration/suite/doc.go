// Package suite holds the end-to-end cases that must pass on every server
// that does SSE-KMS: the sandbox, MinIO over http, MinIO over TLS.
//
// Each case gets a fresh bucket, works through real mounts of the real
// binary, and looks at the result with an independent S3 client.
package suite
