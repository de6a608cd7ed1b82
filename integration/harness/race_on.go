//go:build race

package harness

// Raced is 1 if the tests run under the race detector, else 0.
const Raced = 1
