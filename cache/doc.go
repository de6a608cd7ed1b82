// Package cache keeps what was costly to learn: bounded, expiring caches whose
// concurrent misses load once. Only this package imports ristretto.
//
// # Invariants
//
//   - A lookup returns the value stored last under exactly that key, or none.
//     It never returns an older one, and never that of another key.
//   - The costs of all values together never exceed the bound for longer than
//     a Store takes.
//   - One key is loaded by one call at a time, however many wait for it, and
//     the load goes on when those who wait go away. Errors are not kept.
//   - What is loaded is not kept if the key was stored or deleted meanwhile:
//     it may be older than that.
//
// # What ristretto does otherwise, as seen with v2.4.2
//
//   - Its Set is asynchronous, and of two in a row the second one is lost, for
//     good, while the first one is still on its way. So Store deletes first,
//     then sets, then waits, one caller at a time.
//   - Set may be dropped in a burst; Store then leaves no value.
//   - Keys are compared by 128 bits of hash. The whole key is kept and compared.
//   - 56 bytes of its own are added to every cost unless that is switched off.
//   - A new value is refused admission when those it would replace are in
//     greater demand: a Store is a wish. What must be kept must be kept
//     elsewhere too.
//
// Cache has one lock, which guards loads and orders changes; it is never held
// while a load runs.
package cache
