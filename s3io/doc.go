// Package s3io turns one bucket into objects that can be listed, read at an
// offset, created and copied, and is the only place where SSE headers are set
// and checked.
//
// # What it keeps
//
// No request that creates an object leaves the process without the headers
// that the policy demands: policy.go fills them in, and guard.go, which shares
// no code with it, refuses to let a request be signed that lacks one, or any
// other request that carries one. No creating call returns without error before
// the server's answer, or HEAD where the server puts no proof into answers, has
// named the required algorithm and key.
//
// What is not proven is taken back by undo.go, and nothing else is: only what
// the very same commit created, by its version or while it has its ETag.
// Content that was acknowledged is never removed; where it can neither be
// brought back nor encrypted as required, the bucket becomes read-only.
//
// Every creating request carries a random commit id in user metadata. When an
// answer is lost, settle.go asks HEAD for that id: a request that may have been
// applied is never taken for somebody else's, nor the other way round.
//
// # Envelope
//
// With Options.Envelope content is sealed before it leaves and opened as it
// arrives (package crypto has the format). Sizes and offsets that callers see
// are those of the plaintext; Object.Stored is what S3 has. Listings tell the
// form of an object by its size alone, HEAD for certain: what is not sealed is
// Foreign, and is neither opened nor copied.
//
// A Writer seals each page once, in its place, in the goroutine that sends it:
// whatever is sent again is the same bytes. Appends and truncations copy the
// frames that stay and seal the others under the same message, unless the whole
// has to be sealed anew. The guard lets no body pass that is not of the type that
// only sealing makes, but for three kinds that it knows by their content.
//
// The header of a message is also in the object's user metadata, beside its
// sealed extended attributes, so that one GET is a cold read. That is a hint:
// what does not open by it is tried again by the header that the object begins
// with, and a frame that does not open is asked for once more. Only bytes that
// are authentic leave unseal.go. Server-side encryption is a second layer then,
// as strict as before where it is asked for.
//
// The registry below .kmsfs/rewrap/ holds other forms of wrapped data keys. It
// is not to be trusted either: the keyring accepts and proves what it says.
//
// # Errors and time
//
// Foreign errors become an Error once, at the client call, by type or code
// (classify.go). Lookups and reads end with their deadline or their caller's
// context. What changes the bucket is carried through once it has begun: it
// ends with its own deadline, which counts from the last progress, or when
// Close gives up. Nothing here logs, except the writer about work that nobody
// waits for.
//
// # Locks
//
// Bucket.mu, counters.mu and deadline.mu guard a few fields each, are never
// held over I/O, and no other lock is taken under them. Bucket.probing is held
// over the whole probe and taken first.
//
// # Limitations
//
// An answer to CreateMultipartUpload that is lost leaves an upload that nobody
// knows of: S3 names neither a commit id nor a mount in its lists, and uploads
// of others are never aborted. A lifecycle rule for incomplete uploads removes
// it. The ACL of an object is carried over only on AWS, where it can be read.
package s3io
