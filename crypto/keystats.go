package crypto

import (
	"fmt"
	"maps"
	"slices"
)

// note counts a call, whose outcome says something of KMS unless somebody gave
// it up. A key that KMS does not let us use is used no more.
func (k *Keyring) note(op, arn string, err error, telling bool) {
	k.mu.Lock()
	k.calls[op]++
	if err != nil {
		k.errors++
	}
	if telling && !Passing(err) {
		k.outage = false
	}
	k.mu.Unlock()
	if telling && Passing(err) {
		k.unanswered(err)
	}
	if op == opReEncrypt || !Refused(err) {
		return
	}
	if op != opDecrypt || !AccessDenied(err) { // who may not read may still write
		k.retire(func(w *writeKey) bool { return slices.ContainsFunc(w.edks, func(e EDK) bool { return e.Info == arn }) })
	}
	if k.o.Cache != nil {
		k.o.Cache.Drop(arn)
	}
}

// unanswered notes that KMS does not answer. It warns once in an outage, and
// once in a TTL where one follows the other.
func (k *Keyring) unanswered(err error) {
	k.mu.Lock()
	now := k.now()
	tell := !k.outage && now.Sub(k.warned) >= k.o.TTL
	k.outage = true
	if tell {
		k.warned = now
	}
	k.mu.Unlock()
	if tell {
		k.o.Warn(fmt.Sprintf("KMS does not answer; data keys in memory stay in use until %v after their time: %v", k.o.Grace, err))
	}
}

// Stats returns a copy of the counters.
func (k *Keyring) Stats() KeyStats {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := KeyStats{Calls: maps.Clone(k.calls), Failed: k.errors, Sealed: k.sealed.Load(), Opened: k.opened.Load(), Outage: k.outage}
	made := s.Calls[opGenerate] + s.Calls[opEncrypt] + s.Calls[opDecrypt]
	s.Saved = max(0, s.Sealed*int64(len(k.o.Keys))+s.Opened-made)
	return s
}

// KeyStats counts what a Keyring asked of KMS and what it did not have to.
type KeyStats struct {
	Calls  map[string]int64 // by operation, such as "Decrypt"; the SDK's retries are not counted
	Failed int64            // calls that brought an error
	Saved  int64            // requests that KMS would have had with a data key per object and no cache

	Sealed, Opened int64 // messages begun, messages opened
	Outage         bool  // KMS does not answer
}
