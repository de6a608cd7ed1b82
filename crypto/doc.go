// Package crypto keeps keys: it resolves the names of AWS KMS keys to their
// ARNs, says why a key cannot be used, and seals bytes under keys that never
// leave this process.
//
// # KMS keys
//
// ResolveKey turns what a user wrote (an id, an alias, an ARN) into the one ARN
// that S3 will answer with, by one DescribeKey. It accepts only symmetric
// encryption keys that are enabled and, where the caller says which, of the
// right region. Every refusal is a KeyError with a Reason to decide by and a
// Remedy to show. Only this package imports the KMS client.
//
// # Ephemeral keys
//
// Ephemeral seals bytes that are parked outside memory, under AES-256-GCM with
// a random key that exists nowhere else. Sealed bytes are
//
//	offset  bytes  content
//	0       12     nonce: 4 zero bytes, then the number of the message, big-endian, from 1
//	12      n      ciphertext of the n plaintext bytes
//	12+n    16     GCM tag
//
// # Invariants
//
//   - No nonce is used twice under one key, whatever the concurrency.
//   - Open returns bytes only if Seal of the same key returned the whole input.
//   - A key is held in memory that is mapped for it alone, locked and kept out
//     of core dumps where the system allows it, and zeroed by Wipe.
//   - No message of an error contains a key or plaintext.
//
// # Limitations
//
// The expanded form of an AES key passes through Go's heap while a message is
// sealed or opened, and cannot be wiped there: keeping keys out of dumps and
// swap is best effort. Ephemeral does not know in which order messages belong:
// its caller keeps the nonces where that matters.
//
// Ephemeral has one lock, which calls hold for reading and Wipe for writing.
package crypto
