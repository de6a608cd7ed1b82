// Package thirdparty runs the end-to-end suite on S3 servers that others
// wrote: MinIO with SSE-KMS, and versitygw, which accepts SSE headers and
// stores plaintext. `make servers` builds them.
package thirdparty
