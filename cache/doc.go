// Package cache keeps secrets that several share and that were costly to learn:
// bounded, expiring, fetched once however many ask, and wiped when the last
// holder lets go. Data keys of KMS live in it. Only this package imports
// ristretto.
//
// # Invariants
//
//   - Load returns what was stored or fetched last under exactly that id, never
//     an older value and never that of another id, and the caller is a holder
//     of it: eviction, expiry, Drop and Flush do not wipe it under its hands.
//   - What the cache holds it releases once.
//   - One id is fetched by one call at a time, and the call goes on when those
//     who wait for it go away. At most 64 calls run; the others queue.
//   - No value is handed out at an age of TTL or more, except while fetching it
//     again fails by an outage, and never at an age of TTL and Grace.
//   - What was stored, dropped or flushed while it was being fetched is not
//     undone by what the fetch brings.
//
// # Time
//
// A value that is asked for at about 80 % of its TTL or later is handed out at
// once and fetched again in the background, so nothing is fetched for those
// who do not come back. Past its TTL who asks waits, and gets the old value if
// the fetch fails by an outage and the grace lasts. For a minute after such a
// failure all values of the group are handed out without a wait, and one of
// them is tried in the background every five seconds. A failure by denial drops
// the whole group and is the answer to its id for five seconds. Other errors
// are handed to those who wait and forgotten. What nobody asks for any more is
// wiped within a minute of the end of its time.
//
// # What ristretto does otherwise, as seen with v2.4.2
//
//   - Its Set is asynchronous, may be dropped in a burst, and of two in a row
//     the second one is lost, for good, while the first one is still on its
//     way. So put deletes, sets and waits, one caller at a time.
//   - A new value is refused admission when those it would replace are in
//     greater demand. What is lost in any way is kept aside: the newest 64.
//   - Keys are compared by 128 bits of hash. The whole id is kept and compared.
//   - OnExit may run while a reader holds the value, twice for one pointer that
//     was set twice, with nil for what was not there, and not at all for a
//     value whose hash collides. So what it releases is an entry, which counts
//     as one holder and is released once, by whoever finds it gone first.
//   - 56 bytes of its own are added to every cost unless that is switched off:
//     a MaxCost of 100 would hold one value.
//   - Its expiry has its own clock, runs up to ten seconds late and can take
//     away what was set anew. It is not used: ages are compared at every Load.
//
// One lock orders everything; it is never held while a fetch runs. Values are
// released under it, so Release must not call the Cache.
package cache
