package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/kmsfs/kmsfs/fs"
	"github.com/kmsfs/kmsfs/internal/ctl"
	"github.com/kmsfs/kmsfs/s3io"
)

// server is one mount and the process around it.
type server struct {
	c      *config
	log    *slog.Logger
	bucket *s3io.Bucket
	tree   *fs.FS
	rescue *salvage      // keeps what cannot be saved
	told   atomic.Int64  // of so many files that are kept a client was told
	since  time.Time     // when it was mounted
	ready  chan struct{} // closed when the mount can be used: the fields above are set
	gone   chan struct{} // closed when the kernel has unmounted
	taken  chan struct{} // closed when a client took the mount away from its users
	take   func()        // closes taken, once
}

// errAborted means that a second signal ended the wait for what was written.
var errAborted = errors.New("ended by a second signal before everything was saved")

// tick is how often waiting looks at what is left, and shows it.
const tick = 200 * time.Millisecond

// serve mounts and serves until the mount is gone. ready is called when it can
// be used; if that fails nobody waits for the mount and it is taken back.
// Signals drain and unmount; a second one gives up what is not saved.
func serve(c *config, log *slog.Logger, ready func(warnings []string) error) (err error) {
	first, cancelFirst := context.WithCancel(context.Background())
	second, cancelSecond := context.WithCancel(context.Background())
	defer cancelSecond()
	defer cancelFirst()
	stop := onSignals(0, cancelFirst, cancelSecond)
	defer stop()

	if err := hideMemory(); err != nil {
		log.Warn("the memory of the process is not protected", "error", err)
	}
	limitHeap(c.s3.Memory)
	// The process must not keep another filesystem busy; all paths are absolute.
	if err := os.Chdir("/"); err != nil {
		return err
	}
	c.s3.Log = log
	m := newServer(c, log)
	control, err := ctl.Serve(c.dir, m.answer) // first: it reserves the mount point
	if err != nil {
		return err
	}
	defer control.Close() // last: clients wait for it as the end of the process
	closeKeys, err := c.openKeyCache(func(text string) { log.Warn(text) })
	if err != nil {
		return err
	}
	defer closeKeys()
	if c.s3.Envelope != nil {
		c.s3.Envelope.Reserve = true
	}
	if m.bucket, err = s3io.Open(first, c.s3); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close(second)) }()
	if err := m.mount(first); err != nil {
		return err
	}
	m.since = time.Now()
	close(m.ready)
	if err := m.announce(ready); err != nil {
		return errors.Join(err, m.detach())
	}
	defer m.farewell()
	select {
	case <-m.gone:
		daemon.SdNotify(false, daemon.SdNotifyStopping)
		return m.lastDrain(second)
	case <-m.taken:
		daemon.SdNotify(false, daemon.SdNotifyStopping)
		return nil // the client was told what was lost
	case <-first.Done():
		m.log.Info("draining", "dir", m.c.dir)
		daemon.SdNotify(false, daemon.SdNotifyStopping)
		return m.leave(second)
	}
}

func newServer(c *config, log *slog.Logger) *server {
	m := &server{c: c, log: log, ready: make(chan struct{}), gone: make(chan struct{}), taken: make(chan struct{})}
	m.take = sync.OnceFunc(func() { close(m.taken) })
	return m
}

// limitHeap makes the collector keep Go's heap within what --memory leaves to
// it. The buffers of s3io, seven eighths of it, lie outside that heap.
func limitHeap(memory int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory/8 + 48<<20)
	}
}

// mount builds the tree and hands it to the kernel.
func (m *server) mount(ctx context.Context) error {
	if !m.c.s3.ReadOnly {
		if _, err := m.bucket.Probe(ctx); err != nil {
			return err
		}
		if err := m.bucket.CleanUp(ctx); err != nil {
			m.log.Warn("what an earlier mount left half-way remains for the next one", "error", err)
		}
	}
	m.rescue = newSalvage(ctx, m.c, m.bucket, m.log)
	m.rescue.wait(ctx)
	t := m.c.tree
	tree, err := fs.New(m.bucket, fs.Options{
		FSName:     m.c.source.String(),
		AllowOther: t.shared(),
		OwnerOnly:  t.allowRoot,
		ReadOnly:   m.c.s3.ReadOnly,
		UID:        t.uid,
		GID:        t.gid,
		FileMode:   t.fileMode,
		DirMode:    t.dirMode,
		Umask:      t.umask,
		PosixAttrs: t.posixAttrs,
		NoXattrs:   !t.xattrs,
		StrictExcl: t.strictExcl,
		AttrTTL:    t.attrTTL,
		Keep:       m.rescue.keep,
		Log:        m.log,
	})
	if err != nil {
		return err
	}
	if ctx.Err() != nil { // a signal came while the bucket was probed
		return ctx.Err()
	}
	if err := tree.Mount(m.c.dir); err != nil {
		return fmt.Errorf("mount on %s: %w", m.c.dir, err)
	}
	m.tree = tree
	go func() { // ends when the mount does, which every way out of serve brings about
		tree.Wait()
		close(m.gone)
	}()
	if t.noExec {
		if err := forbidExec(m.c.dir, m.c.s3.ReadOnly); err != nil {
			return errors.Join(err, m.detach())
		}
	}
	return nil
}

// announce tells everybody who waits that the mount can be used.
func (m *server) announce(ready func([]string) error) error {
	if name := m.c.run.pidFile; name != "" {
		if err := os.WriteFile(name, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
			return fmt.Errorf("write the pid file: %w; choose another --pid-file", err)
		}
	}
	if err := ready(m.bucket.Warnings()); err != nil {
		return fmt.Errorf("nobody waits for the mount any more: %w", err)
	}
	about := []any{"source", m.c.source.String(), "dir", m.c.dir, "sse", m.c.sse(), "key", m.bucket.Key()}
	if m.c.s3.Envelope != nil {
		about = append(about, "envelope", strings.Join(m.bucket.EnvelopeKeys(), " "))
	}
	m.log.Info("mounted", append(about, "version", version())...)
	_, err := daemon.SdNotify(false, daemon.SdNotifyReady)
	if err != nil {
		m.log.Warn("systemd was not told that the mount is ready", "error", err)
	}
	return nil
}

// farewell takes back what announce made.
func (m *server) farewell() {
	if name := m.c.run.pidFile; name != "" {
		if err := os.Remove(name); err != nil {
			m.log.Warn("the pid file remains", "error", err)
		}
	}
	m.log.Info("unmounted", "dir", m.c.dir)
}

// close ends the bucket's background work.
func (m *server) close(abort context.Context) error {
	ctx, cancel := context.WithTimeout(abort, m.c.run.timeout)
	defer cancel()
	m.extend(m.c.run.timeout + tick)
	if m.rescue != nil {
		defer m.rescue.close()
	}
	if err := m.bucket.Close(ctx); err != nil {
		return fmt.Errorf("end the work in the background: %w", err)
	}
	return nil
}

// detach takes the mount away from whoever uses it.
func (m *server) detach() error {
	select {
	case <-m.gone: // somebody else did
		return nil
	default:
		return detach(m.c.dir)
	}
}

// answer carries out a request from the control socket.
func (m *server) answer(ctx context.Context, r ctl.Request, progress func([]string)) ctl.Event {
	select {
	case <-m.ready:
	case <-ctx.Done():
		return ctl.Event{Error: "the mount did not get ready"}
	}
	switch r.Op {
	case ctl.OpStatus:
		return ctl.Event{Status: &ctl.Status{PID: os.Getpid(), Version: version(), Source: m.c.source.String(),
			Dir: m.c.dir, Key: m.bucket.Key(), Mode: m.c.sse(), Envelope: m.bucket.EnvelopeKeys()}}
	case ctl.OpDrain:
		return failedEvent(m.drain(ctx, m.tree.Drain, progress))
	case ctl.OpUnmount:
		return m.unmount(ctx, r.Force, progress)
	case ctl.OpInspect:
		return resultEvent(inspectObject(ctx, m.bucket, "s3://"+m.c.s3.Bucket+"/"+m.c.s3.Prefix, r.Key, r.Verify))
	case ctl.OpStats:
		return resultEvent(m.statistics(), nil)
	case ctl.OpFlushKeys:
		if m.c.s3.Envelope == nil {
			return ctl.Event{Error: "this mount has no data keys of its own: without --" + envelopeKey + " S3 asks KMS itself"}
		}
		m.bucket.Keyring().Flush()
		m.log.Info("data keys flushed")
		return ctl.Event{}
	case ctl.OpLogLevel:
		if err := logLevel(m.c, r.Level); err != nil {
			return ctl.Event{Error: err.Error()}
		}
		m.log.Info("log level changed", "level", r.Level)
		return ctl.Event{}
	}
	return ctl.Event{Error: fmt.Sprintf("this mount (version %s) does not know the request %q; use the same version for both", version(), r.Op)}
}

// resultEvent is the last event of a request that is answered with v.
func resultEvent(v any, err error) ctl.Event {
	raw, encodeErr := json.Marshal(v)
	if err = cmp.Or(err, encodeErr); err != nil {
		return ctl.Event{Error: err.Error()}
	}
	return ctl.Event{Result: raw}
}

// failedEvent is the last event of a drain.
func failedEvent(failed []string, err error) ctl.Event {
	e := ctl.Event{Failed: failed}
	if err != nil {
		e.Error = err.Error()
	}
	return e
}
