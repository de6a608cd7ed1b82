// Package wire is what the sandbox's S3 and KMS endpoints share of AWS's HTTP surface: SigV4 verification, the two
// shapes of error answers, the request log, denied rights, the faults that tests inject, and taps, with a search for
// bytes that must not arrive.
//
// An [Endpoint] stands in front of a service's handler. It classifies each request, logs it, shows it to the [Taps],
// injects at most one [Fault], verifies the signature, and only then calls the service, which finds the caller with
// [Caller] and a plain body: payload hashes and aws-chunked framing are checked and removed while the service reads. A
// body that turns out wrong gives the service an *[Error] from Read, which it must answer as it is.
//
// Invariant: what the log counts has been counted before the client can see the answer, so that a test may compare
// counters as soon as its call returns.
//
// Lock order: [Log], [Faults], [Denials], [Taps] and [Search] each have one mutex; none is held while another is taken or over I/O.
//
// # Limitations
//
// HTTP/1.1 only: resets need the connection. SigV4a and the legacy SigV2 are answered as unknown algorithms. Session
// tokens are not looked at. The log keeps at least the newest 10,000 requests, its counters count all.
package wire
