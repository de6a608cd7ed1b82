package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/kmsfs/kmsfs/internal/ctl"
)

// drain waits until everything written is in S3, and shows what it waits for.
// It returns what could not be saved.
func (m *server) drain(ctx context.Context, progress func(waiting []string)) (failed []string, err error) {
	done := make(chan error, 1)
	go func() { done <- m.tree.Drain(ctx) }()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return m.failures(), err
		case <-ctx.Done(): // what Drain does then ends by itself, or with the process
			return m.failures(), ctx.Err()
		case <-ticker.C:
			progress(m.tree.Pending())
		}
	}
}

// failures lists what could not be saved, and why the mount became read-only
// if it did.
func (m *server) failures() []string {
	lines := m.tree.Failures()
	if now, why := m.bucket.ReadOnly(); now && !m.c.s3.ReadOnly {
		lines = append(lines, "anything since the mount became read-only: "+why)
	}
	return lines
}

// unmount drains and unmounts on behalf of a client. Without force it leaves
// the mount as it is when something cannot be saved or is in use.
func (m *server) unmount(ctx context.Context, force bool, progress func([]string)) ctl.Event {
	failed, err := m.drain(ctx, progress)
	if ctx.Err() != nil {
		return ctl.Event{Error: "interrupted; " + m.c.dir + " is still mounted"}
	}
	e := failedEvent(failed, err)
	if err != nil && !force {
		return e
	}
	e.Lost = err != nil
	err = m.unmountSoon(ctx)
	if errors.Is(err, syscall.EBUSY) && force {
		if err = m.detach(); err == nil {
			m.take()
		}
	}
	switch {
	case errors.Is(err, syscall.EBUSY):
		e.Error = "in use"
		e.Waiting = append(m.tree.Pending(), holders(m.c.dir)...)
	case err != nil:
		e.Error = fmt.Sprintf("unmount: %v", err)
	default:
		e.Error = ""
	}
	return e
}

// settle is how long a mount may stay busy after the drain: the kernel lets go
// of a file only some time after the close that the drain waited for.
const settle = 2 * time.Second

// unmountSoon unmounts. The error is EBUSY if the mount stays in use.
func (m *server) unmountSoon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		err := m.tree.Unmount()
		if !errors.Is(err, syscall.EBUSY) {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return err
		}
	}
}

// leave drains and unmounts after a signal: whatever happens, the mount is
// gone afterwards. The error says what was not saved.
func (m *server) leave(abort context.Context) error {
	ctx, cancel := context.WithTimeout(abort, m.c.run.drainTimeout)
	defer cancel()
	err := m.save(ctx)
	if abort.Err() != nil {
		err = errAborted
	}
	if unmountErr := m.unmountSoon(ctx); unmountErr != nil {
		for _, line := range append(m.tree.Pending(), holders(m.c.dir)...) {
			m.log.Warn("taken away while in use", "what", line)
		}
		err = errors.Join(err, m.detach())
	}
	// What changed during the drain is not saved yet.
	if _, again := m.drain(ctx, m.tellSystemd); err == nil {
		err = again
	}
	return err
}

// lastDrain saves what a mount that somebody else unmounted still holds:
// changed attributes, and files that a lazy unmount left open.
func (m *server) lastDrain(abort context.Context) error {
	ctx, cancel := context.WithTimeout(abort, m.c.run.drainTimeout)
	defer cancel()
	return m.save(ctx)
}

// save drains and logs what could not be saved.
func (m *server) save(ctx context.Context) error {
	failed, err := m.drain(ctx, m.tellSystemd)
	for _, line := range failed {
		m.log.Error("not saved", "what", line)
	}
	return err
}

// tellSystemd shows in systemctl status what is waited for, and asks for more
// time than TimeoutStopSec allows as long as the drain itself may take.
func (m *server) tellSystemd(waiting []string) {
	const more = 30 * time.Second
	state := fmt.Sprintf("STATUS=saving: %s\nEXTEND_TIMEOUT_USEC=%d", strings.Join(waiting, "; "), more.Microseconds())
	if _, err := daemon.SdNotify(false, state); err != nil {
		m.log.Debug("systemd was not told what is waited for", "error", err)
	}
}
