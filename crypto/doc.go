// Package crypto seals bytes under keys that AWS KMS wraps, and opens them: the
// objects of envelope mode, in a format that every AWS Encryption SDK reads. It
// also resolves the names of KMS keys, says why a key cannot be used, keeps
// data keys, and seals bytes that are parked outside memory under keys that
// never leave this process.
//
// # Envelope objects
//
// An object is one message of the AWS Encryption SDK, format 2, suite 0478
// (AES-256-GCM, HKDF with SHA-512, key commitment, no signature), framed, as
// https://github.com/awslabs/aws-encryption-sdk-specification has it. The
// profile narrows that so that a file can be read and written in any place: the
// header has always H = 1,024 bytes, and all frames but the last hold F = 65,536
// bytes of plaintext in S = F + 32 = 65,568. Numbers are big-endian.
// docs/FORMAT.md says the same for readers outside Go, with an example.
//
// Header:
//
//	offset  bytes  content
//	0       1      02: format
//	1       2      0478: suite
//	3       32     message ID: random, new for every message
//	35      2      A: bytes of the encryption context; 0 where it is empty
//	37      A      u16 number of pairs, then for each, sorted by name: u16 length,
//	               name, u16 length, value; UTF-8
//	37+A    2      number of encrypted data keys (EDKs), pad included
//	..             each: u16 length, provider; u16 length, info; u16 length, blob
//	               of KMS: "aws-kms"; ARN of the KMS key; its CiphertextBlob
//	               pad, the last: "kmsfs-pad"; "v1"; one or more zeros, as many as fill H
//	H-53    1      02: framed
//	H-52    4      F
//	H-48    32     C: commitment to the data key
//	H-16    16     tag: AES-256-GCM(K, IV 0, no plaintext, AAD: bytes 0 to H-17)
//
// Regular frame n, from 1, which begins at H + (n-1)*S:
//
//	0       4      n
//	4       12     IV
//	16      F      ciphertext
//	16+F    16     tag
//
// Final frame n, of 0 <= L <= F bytes of plaintext:
//
//	0       4      FFFFFFFF
//	4       4      n
//	8       12     IV
//	20      4      L
//	24      L      ciphertext
//	24+L    16     tag
//
// The AAD of a frame: message ID, then "AWSKMSEncryptionClient Frame" or
// "AWSKMSEncryptionClient Final Frame", u32 n, u64 bytes of plaintext. The IV is
// n in 12 bytes, or random with the top bit set (see the traps).
//
// Keys, of the 32 bytes DK that KMS unwraps (RFC 5869 with SHA-512):
//
//	PRK = Extract(salt: message ID, DK)
//	K   = Expand(PRK, 04 78 "DERIVEKEY", 32)      seals header and frames
//	C   = Expand(PRK, "COMMITKEY", 32)            stands in the header
//	M   = Expand(PRK, "kmsfs metadata v1", 32)    seals what is stored beside the message
//
// Size: an object of s bytes with b = s - H - 40, n = b / S and r = b mod S holds
// n*F + r bytes of plaintext; there is none with b < 0 or r > F. The final frame
// may be full or empty, so a plaintext of n*F bytes has two sizes.
//
// Beside the message: Header.Compact is the header without bytes 0 to 2 and
// the pad. SealMetadata makes a random IV of 12 bytes, the ciphertext and the
// tag under M, with a label as AAD.
//
// # Invariants of envelope objects
//
//   - One header per message ID. A header's tag has the IV 0: two headers under
//     one K would give away what it takes to forge a third. newSealer draws the
//     ID, and nothing edits a header. A KMS key is replaced by the rewrap
//     registry, beside the objects.
//   - No IV twice under one K. Frames have their number as IV only under the
//     Sealer that drew the message ID, which hands each number out once
//     (Sealer.Run), also to goroutines that seal parts of one upload out of
//     order, and panics rather than do it again. Frames that join a message
//     later (Opener.Splice) have random IVs with the top bit set, which no
//     number has. No function takes an IV. To send frames again, send the
//     sealed bytes again.
//   - Nothing is opened before it is proved: the commitment in constant time,
//     then the header's tag, then each frame's, and no plaintext of a frame is
//     returned unless all of it is genuine, in its place and of its kind.
//   - Readers allocate in proportion to the bytes at hand, never by a number
//     that stands in them.
//
// # Traps
//
//   - Readers must take a frame's IV from the frame. Decrypt in the
//     specification says that it is the number, but the SDKs read it, and AWS's
//     own test vectors have others.
//   - Only the place in the object, which follows from its size, says which
//     frame is the final one. Who believes the mark FFFFFFFF wherever it
//     occurs lets an attacker end the file early.
//   - Zeros of the pad are authenticated, but other writers have no pad: a
//     header of H bytes with frames of F is read without one, too. It just
//     has no compact form.
//   - Open may decrypt in the place of the ciphertext. When it fails, both are
//     gone.
//
// # Limitations of envelope objects
//
// What is detected: bytes changed, and frames moved, dropped, doubled or taken
// from another message; a tail that is cut off at the end of a frame when the
// last frame is read. What is not: the whole object replaced by an older one, or
// by another that the same key and context open; frames of a spliced message
// replaced by older ones of the same message and number; sizes and names, which
// are visible.
//
// A message has at most 2^32 - 2 frames. Random IVs are good for 2^31 frames of
// one message (the chance of a repetition is 2^-34 then); who splices counts
// them, and rewrites in full before. About three KMS keys fit a header, and
// with ScopeObject less of them the longer the object's key is: what does not
// fit is refused with the remedy.
//
// Reader opens framed messages of suite 0478 by other writers, with headers of up
// to 64 KiB and frames of up to 64 MiB; other suites, format 1 and content that is
// not framed are refused by name.
//
// # KMS keys
//
// ResolveKey turns what a user wrote (an id, an alias, an ARN) into the one ARN
// that S3 will answer with, by one DescribeKey. It accepts only symmetric
// encryption keys that are enabled and, where the caller says which, of the
// right region. Every refusal is a KeyError with a Reason to decide by and a
// Remedy to show. Only this package imports the KMS client.
//
// # Data keys
//
// A Keyring has KMS make data keys and unwrap them. Seal begins a message under
// the current write key, or under one of its own; Open checks the encryption
// context and the KMS keys of a header against what the Keyring accepts, which
// no object can widen, before KMS hears of it. Without the pairs "aws:s3:arn" of
// the context a header could be carried to another bucket: KMS authenticates
// them. Keys are counted by who uses them and wiped by the last.
//
// The write key serves 15 minutes (TTL), 2^20 messages or 1 TiB, and is replaced
// in the background, if it is in use, from three quarters of one of them on:
// by one request for all, which no caller's end cancels. While KMS does not
// answer it serves on for its grace. Once KMS refuses a key (no right, disabled,
// gone) nothing under it is used any more, but for messages that were opened
// before. A cache knows a data key by all its wrapped forms, their KMS keys and
// the context, so that a hit never replaces a check that KMS would make.
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
// No nonce is used twice under one key, whatever the concurrency. Open returns
// bytes only if Seal of the same key returned the whole input. Ephemeral does
// not know in which order messages belong: its caller keeps the nonces where
// that matters.
//
// # Memory and messages
//
// Data keys and Ephemeral's are held in memory that is mapped for them alone,
// locked and kept out of core dumps where the system allows it, and zeroed when
// they end. The expanded form of an AES key passes through Go's heap, for as
// long as an Opener lives, and cannot be wiped there: keeping keys out of dumps
// and swap is best effort. No message of an error contains a key, a wrapped key
// or plaintext.
//
// # Locks
//
// A Sealer's lock guards which frames are handed out, Ephemeral's is held for
// reading by calls and for writing by Wipe, a Keyring's guards its state and is
// never held over I/O. Under the last the memory of data keys may be locked;
// else none is taken while another is held.
package crypto
