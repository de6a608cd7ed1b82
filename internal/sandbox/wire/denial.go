package wire

import (
	"strings"
	"sync"
)

// A Denial takes one right away, as an explicit Deny in a policy does. Empty fields mean anything, and a trailing
// "*" matches any ending.
type Denial struct {
	Action    string // such as kms:Decrypt or s3:*
	Resource  string // ARN of a key, bucket or object
	Principal string // ARN of the caller
}

// Denials are the rights that were taken away. The zero value denies nothing.
type Denials struct {
	mu    sync.Mutex
	rules []*Denial
}

// Deny takes action on resource away from everybody, until undo is called.
func (d *Denials) Deny(action, resource string) (undo func()) {
	return d.Add(Denial{Action: action, Resource: resource})
}

// Add takes a right away until undo is called.
func (d *Denials) Add(rule Denial) (undo func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rules = append(d.rules, &rule)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for i, r := range d.rules {
			if r == &rule {
				d.rules = append(d.rules[:i:i], d.rules[i+1:]...)
				return
			}
		}
	}
}

// Clear gives all rights back.
func (d *Denials) Clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rules = nil
}

// Denied reports whether the principal lacks the right to do action on resource. It is false on nil Denials.
func (d *Denials) Denied(action, resource, principal string) bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.rules {
		if covers(r.Action, action) && covers(r.Resource, resource) && covers(r.Principal, principal) {
			return true
		}
	}
	return false
}

func covers(pattern, s string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(s, prefix)
	}
	return pattern == "" || pattern == s
}
