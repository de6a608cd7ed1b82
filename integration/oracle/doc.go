// Package oracle has AWS's own Encryption SDKs judge the envelope format: they
// open what a mount wrote with nothing but the KMS key, and the mount and
// `kmsfs decrypt` open what they wrote.
//
// The SDK for JavaScript (directory js, run by Node.js) is part of every run of
// the tests, which install it from the npm registry once. The SDK for Go
// (directory goesdk) takes a minute or two to build: `make oracle-go`.
//
// The oracles pad their headers to kmsfs's size with a keyring of their own, as
// an SDK's user could. Everything else is the SDK's.
package oracle
