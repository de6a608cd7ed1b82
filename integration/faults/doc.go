// Package faults holds the operations, the faults and the runner behind
// docs/FAULTS.md: each row of that table is an operation on a mount, a fault
// that strikes its requests, and what the program then sees.
//
// Whatever the row says, the runner wants more of each: an end within the
// deadline, old or new content and never a mix or a loss, no conflict where
// nobody else writes, nothing left behind, and a mount that works afterwards.
// Servers other than the sandbox run the same rows through harness.Behind.
package faults
