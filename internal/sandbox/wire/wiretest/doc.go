// Package wiretest replays transcripts of AWS's API documentation against the sandbox, so that the sandbox's answers
// are held against what AWS documents and not against what we believe.
//
// A transcript is a file testdata/NAME.http:
//
//	# source: the page it was taken from
//	POST / HTTP/1.1
//	X-Amz-Target: TrentService.DescribeKey
//
//	{"KeyId":"{{key}}"}
//	---
//	HTTP/1.1 200 OK
//	Content-Type: application/x-amz-json-1.1
//
//	{"KeyMetadata":{...}}
//
// Signatures, dates and lengths are left out: [Transcript.Send] makes them. {{name}} stands for what only the sandbox
// knows. [Transcript.Check] compares structure, not values: the status, every documented header, every documented
// field and its type, no undocumented field. Enumerations, error codes and the form of ARNs, identifiers and base64
// must agree; see [Diff].
//
// It is imported by tests only.
package wiretest
