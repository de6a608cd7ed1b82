// Package kms is a toy of AWS KMS: the JSON 1.1 endpoint, with the rules, errors and answers of AWS as far as
// SSE-KMS and envelope encryption meet them.
//
// It is a toy because its keys are ordinary bytes in this process and, with Options.Dir, in a file of mode 0600.
// Nothing that must stay secret belongs under them.
//
// Ciphertext is real: AES-256-GCM under a backing key that the blob names, with the encryption context as additional
// data. One Server plays all accounts and all regions of AWS: the account is that of the caller's ARN, the region that
// of the signature's scope, and a key is seen only in its own region. Rights are those of key policies (statements
// without conditions) and of grants, less [wire.Denials]; in its own account a principal has every right that the policy
// gives to the account, as there is no IAM here. So one without rights is one of another account, or one that a policy
// does not name; a denial is an explicit Deny, which no grant outweighs.
//
// The S3 sandbox calls GenerateDataKey and Decrypt directly. These calls are logged as Internal, and obey key states,
// policies, denials, faults and the rate limit as calls over HTTP do.
//
// Invariant: a request that the client saw succeed has been written to Dir.
//
// Lock order: Server.mu is taken alone, and held while the file in Dir is written, as the order of writes must be
// that of changes.
//
// # Limitations
//
// Asymmetric and HMAC keys can be created, described and refused, not used. No import, custom key stores, tags or lists of
// rotations; grants are managed in the key's account only, and give nobody the right to make others; policy conditions
// are refused when the policy is set. A key whose waiting period is over is deleted when it is next asked for.
package kms
