// Command testlog reads what `go test -json` prints and shows what a person
// wants to see of it: a line for every package as it ends, and all output of
// what failed. A skipped test is a failure, and so is a run without tests.
//
//	go test -json ./... | go run ./internal/testlog
//
// It does not judge how long a test took; the slowest ones are listed at the end.
package main
