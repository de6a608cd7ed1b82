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

// drain waits until everything written is in S3, and shows what it waits for. work
// is Drain or DrainAndKeep. It returns what could not be saved; the error names what
// is not kept elsewhere either.
func (m *server) drain(ctx context.Context, work func(context.Context) error, progress func(waiting []string)) (failed []string, err error) {
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return m.failures(), err
		case <-ctx.Done(): // what is done then ends by itself, or with the process
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
// the mount as it is when something can neither be saved nor kept, or is in use.
func (m *server) unmount(ctx context.Context, force bool, progress func([]string)) ctl.Event {
	failed, err := m.drain(ctx, m.tree.DrainAndKeep, progress)
	if ctx.Err() != nil {
		return ctl.Event{Error: "interrupted; " + m.c.dir + " is still mounted"}
	}
	e := failedEvent(failed, err)
	e.Kept = m.tree.Kept()
	if err != nil && !force {
		return e
	}
	e.Lost = err != nil
	m.told.Store(int64(e.Kept))
	err = m.unmountSoon(ctx)
	if errors.Is(err, syscall.EBUSY) && force {
		if err = m.detach(); err == nil {
			// What was written since the drain.
			again, lost := m.drain(ctx, m.tree.DrainAndKeep, progress)
			e.Failed, e.Lost, e.Kept = again, e.Lost || lost != nil, m.tree.Kept()
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

// errKept means that something is not in S3 but in the salvage directory.
var errKept = errors.New("not everything could be saved; the log says where it is kept")

// lastChance is how long the end of the mount waits for what is being kept, or still
// ends, after everything else was given up.
const lastChance = 10 * time.Minute

// leave drains and unmounts after a signal: whatever happens, the mount is
// gone afterwards. The error says what was not saved.
func (m *server) leave(abort context.Context) error {
	ctx, cancel := context.WithTimeout(abort, m.c.run.drainTimeout)
	defer cancel()
	err := m.save(ctx)
	if unmountErr := m.unmountSoon(context.Background()); unmountErr != nil {
		for _, line := range append(m.tree.Pending(), holders(m.c.dir)...) {
			m.log.Warn("taken away while in use", "what", line)
		}
		err = errors.Join(err, m.detach())
	}
	// What changed during the drain is not saved yet.
	if again := m.save(ctx); err == nil {
		err = again
	}
	return m.outcome(abort, err)
}

// lastDrain saves what a mount that somebody else unmounted still holds:
// changed attributes, and files that a lazy unmount left open.
func (m *server) lastDrain(abort context.Context) error {
	ctx, cancel := context.WithTimeout(abort, m.c.run.drainTimeout)
	defer cancel()
	return m.outcome(abort, m.save(ctx))
}

// outcome is how the process ends after err was left of saving.
func (m *server) outcome(abort context.Context, err error) error {
	for _, line := range m.failures() {
		m.log.Error("not saved", "what", line)
	}
	switch {
	case abort.Err() != nil && (err != nil || m.tree.Kept() > 0):
		return errAborted
	case err == nil && m.tree.Kept() > int(m.told.Load()):
		return errKept
	}
	return err
}

// save drains. When ctx ends it gives up, and keeps what is not saved by then.
func (m *server) save(ctx context.Context) error {
	work, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if !m.bucket.GivenUp() {
			m.log.Warn("gives up saving", "reason", context.Cause(ctx))
			m.bucket.GiveUp()
		}
		timer := time.NewTimer(lastChance)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-work.Done():
		}
	})()
	_, err := m.drain(work, m.tree.DrainAndKeep, m.tellSystemd)
	return err
}

// tellSystemd shows in systemctl status what is waited for, and asks for more
// time than TimeoutStopSec allows as long as saving and keeping may take.
func (m *server) tellSystemd(waiting []string) {
	if _, err := daemon.SdNotify(false, "STATUS=saving: "+strings.Join(waiting, "; ")); err != nil {
		m.log.Debug("systemd was not told what is waited for", "error", err)
	}
	m.extend(30 * time.Second)
}

// extend asks systemd not to kill the process before more has passed.
func (m *server) extend(more time.Duration) {
	if _, err := daemon.SdNotify(false, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", more.Microseconds())); err != nil {
		m.log.Debug("systemd was not asked for more time", "error", err)
	}
}
