package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"path/filepath"
	"sync"

	"github.com/kmsfs/kmsfs/internal/ctl"
)

// newLogHandler writes to w in the format and from the level that p says at
// each time.
func newLogHandler(w io.Writer, p process) slog.Handler {
	options := &slog.HandlerOptions{Level: p.logLevel}
	if p.logFormat == "json" {
		return slog.NewJSONHandler(w, options)
	}
	return slog.NewTextHandler(w, options)
}

// openLog opens a log file for appending; only its owner may read names.
func openLog(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log file: %w; choose another --log-file", err)
	}
	return f, nil
}

// backgroundLog returns where a mount in the background logs: the file that
// was asked for, else the system log, else a file in the state directory.
// Standard error goes to the file too, so that a crash shows there.
func backgroundLog(c *config) (slog.Handler, func() error, error) {
	name := c.run.logFile
	if name == "" {
		if w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "kmsfs"); err == nil {
			return newSyslogHandler(w, c.run), w.Close, nil
		}
		if err := os.MkdirAll(c.s3.StateDir, 0o700); err != nil {
			return nil, nil, fmt.Errorf("there is no system log and no state directory: %w; give --log-file", err)
		}
		name = filepath.Join(c.s3.StateDir, ctl.Name(c.dir)+".log")
	}
	file, err := openLog(name)
	if err != nil {
		return nil, nil, err
	}
	if err := replaceStderr(file); err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("send standard error to %s: %w", name, err)
	}
	return newLogHandler(file, c.run), file.Close, nil
}

// syslogHandler sends each record with the severity of its level.
type syslogHandler struct {
	slog.Handler // formats into line
	shared       *syslogLine
}

// syslogLine is what all handlers derived from one share.
type syslogLine struct {
	w *syslog.Writer

	mu   sync.Mutex // guards the fields below
	line bytes.Buffer
}

// newSyslogHandler sends to w, which adds the time.
func newSyslogHandler(w *syslog.Writer, p process) slog.Handler {
	shared := &syslogLine{w: w}
	return &syslogHandler{Handler: newLogHandler(&shared.line, p), shared: shared}
}

// Handle sends one record.
func (h *syslogHandler) Handle(ctx context.Context, r slog.Record) error {
	h.shared.mu.Lock()
	defer h.shared.mu.Unlock()
	h.shared.line.Reset()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	line := h.shared.line.String()
	switch {
	case r.Level >= slog.LevelError:
		return h.shared.w.Err(line)
	case r.Level >= slog.LevelWarn:
		return h.shared.w.Warning(line)
	case r.Level >= slog.LevelInfo:
		return h.shared.w.Info(line)
	}
	return h.shared.w.Debug(line)
}

// WithAttrs returns a handler that adds attrs to each record.
func (h *syslogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &syslogHandler{Handler: h.Handler.WithAttrs(attrs), shared: h.shared}
}

// WithGroup returns a handler that puts later attributes into a group.
func (h *syslogHandler) WithGroup(name string) slog.Handler {
	return &syslogHandler{Handler: h.Handler.WithGroup(name), shared: h.shared}
}
