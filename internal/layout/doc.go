// Package layout holds tests of the project's own form: which package may
// import what, and what every source file owes its reader. It has no code.
package layout
