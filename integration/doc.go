// Package integration holds the end-to-end tests: the suite on the sandbox,
// the promises of docs/SEMANTICS.md, faults and lies of the server, the AWS
// CLI, and what users do wrong.
//
// Package thirdparty runs the suite on servers that others wrote; package
// bench measures.
package integration
