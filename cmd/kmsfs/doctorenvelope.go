package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"

	"golang.org/x/sys/unix"
)

// envelopeChecks looks at what envelope mode needs of this machine.
func envelopeChecks(c *config) []check {
	if c.s3.Envelope == nil {
		return nil
	}
	return []check{memoryCheck(lockMemory, c.s3.Envelope.RequireMlock)}
}

// lockedMemory is what memoryCheck tries to lock, in bytes: room for some
// hundred data keys.
const lockedMemory = 64 << 10

// lockMemory locks n bytes and lets them go again.
func lockMemory(n int) error {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	defer unix.Munmap(b)
	return unix.Mlock(b)
}

// memoryCheck says whether data keys can be kept from swap.
func memoryCheck(lock func(bytes int) error, required bool) check {
	found := check{Name: "locked memory", State: stateOK, Detail: "data keys can be kept from swap"}
	if err := lock(lockedMemory); err != nil {
		found.fail(fmt.Sprintf("data keys may be swapped to disk: memory cannot be locked (%v)", err),
			"raise the limit with ulimit -l, or LimitMEMLOCK= in the systemd unit")
		if !required {
			found.State = stateWarn
		}
	}
	return found
}

// envelopeKey has KMS make and open a data key, as a mount does.
func (p *patient) envelopeKey(ctx context.Context, found *check) error {
	if p.bucket == nil || p.c.s3.Envelope == nil {
		return errNotDone
	}
	keys := p.bucket.EnvelopeKeys()
	found.Detail = strings.Join(keys, " and ")
	if p.c.s3.ReadOnly {
		return nil // what is under them will tell
	}
	if err := p.bucket.Keyring().Check(ctx); err != nil {
		p.locked = true
		return err
	}
	for i, key := range keys {
		keys[i] = key + " (" + strings.Join(p.c.keyActions(i, len(keys)), ", ") + ")"
	}
	found.Detail = strings.Join(keys, " and ")
	return nil
}

// salvage says whether what cannot be saved when a mount ends can be kept. It needs
// a right that a mount does not, so that nothing is wrong where it cannot.
func (p *patient) salvage(ctx context.Context, found *check) error {
	if !p.proven || p.c.s3.ReadOnly {
		return errNotDone
	}
	s := newSalvage(ctx, p.c, p.bucket, slog.New(slog.DiscardHandler))
	defer s.close()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	found.Detail = "what cannot be saved when a mount ends is kept in " + cmp.Or(s.dir, "--"+salvageSetting)
	if s.own || s.keys == nil {
		if err := s.ask(ctx); err != nil {
			found.Detail = "what cannot be saved when a mount ends will not be kept: " + s.denied(err).Error()
		}
	}
	return nil
}
