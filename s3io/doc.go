// Package s3io turns one bucket into objects that can be listed, read at an
// offset, created and copied, and is the only place where SSE headers are set
// and checked.
package s3io
