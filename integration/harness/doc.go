// Package harness runs the kmsfs binary against a server for the end-to-end
// suites: it starts sandboxes and third-party servers, mounts, looks at the
// stored objects with an independent client, and leaves nothing behind.
//
// Everything fails the test that called it; nothing is skipped. A mount that
// hangs is freed through fusectl after Limit, so that a wrong build ends the
// run instead of stopping it.
package harness
