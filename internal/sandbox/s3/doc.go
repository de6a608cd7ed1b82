// Package s3 is an S3 endpoint with the server-side encryption of AWS: the rules and echoes of the SSE headers, real
// calls to KMS (see [KMS]) that can be counted, bucket keys, and data that is encrypted at rest.
//
// A request passes wire.Endpoint, which logs it, injects faults and verifies its signature, and then [Server], which
// checks bucket, region and rights. What reads, writes or deletes objects is served here; buckets, their versioning,
// and listings are served by gofakes3 over the same storage: gofakes3 answers NotImplemented to aws:kms, checks
// conditions before it writes rather than while, ignores versions in HEAD, copies and deletes, and knows neither
// trailing nor composite checksums.
//
// # Storage
//
// An object is an index entry and one sealed blob, or one per part, so that completing an upload moves no byte. The
// data key of an object comes from KMS (under SSE-S3 from a key of the server's own); every blob has a key derived from
// it. With a directory, blobs are files, small ones records of one file, and the index is a journal of transactions
// that is replayed and rewritten at start: it survives the end of the process at any point, not that of the machine.
// Nothing ever holds a whole object, except memory storage.
//
// Invariants: a request's conditions are checked in the transaction that carries it out, so that of requests that
// race only one can win: the others are answered 412, or 409 if a delete came between. A version never changes; its blobs stay while a reader has them.
//
// Lock order: store.commit, store.mu, meetings.mu; bucketKey.mu, keys.mu; Server.mu and pack.mu alone. Three are held over I/O, as
// they are there to order it: commit over the journal, pack.mu over one write, bucketKey.mu over the call to KMS.
//
// # Limitations
//
// No SSE-C, ACLs other than private, object lock, lifecycle, requester pays, POST forms or UpdateObjectEncryption.
// Bodies of requests may be framed by aws-chunked, not by multipart/byteranges. One server at a time per directory.
package s3
