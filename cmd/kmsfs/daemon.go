package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
)

// reportVariable tells a process that it is to serve a mount in the background
// and to report on file descriptor 3 when it does. It begins with an
// underscore so that it is not taken for a setting.
const reportVariable = "_KMSFS_REPORT"

// readiness is what the serving process tells the one that started it.
type readiness struct {
	Warnings []string `json:"warnings,omitempty"`
	Error    string   `json:"error,omitempty"` // why nothing is mounted
	Usage    bool     `json:"usage,omitempty"` // the error is one of usage
}

// startServer starts this very command line again as a session of its own and
// returns when the mount can be used, or with the reason why there is none.
func startServer(ctx context.Context, s std) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the kmsfs binary: %w; run it by its full path", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("open a pipe to the mount's process: %w", err)
	}
	defer r.Close()
	child := exec.Command(self, s.args...)
	child.Env = append(s.env, reportVariable+"=3")
	child.ExtraFiles = []*os.File{w}
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = child.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("start the mount's process: %w", err)
	}
	// Nobody else can stop a half-made mount: it has left our session.
	stop := context.AfterFunc(ctx, func() { child.Process.Signal(syscall.SIGTERM) })
	defer stop()

	var got readiness
	err = json.NewDecoder(r).Decode(&got)
	if err != nil {
		state, _ := child.Process.Wait()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the mount's process ended (%v) before it said why; run it again with --foreground to see", state)
	}
	for _, warning := range got.Warnings {
		say(s.err, "kmsfs: warning: %s", warning)
	}
	if got.Error == "" {
		return child.Process.Release()
	}
	child.Process.Wait()
	if got.Usage {
		return &usageError{errors.New(got.Error)}
	}
	return errors.New(got.Error)
}

// inheritedReport returns where this process is to report, nil if it was not
// started by startServer.
func inheritedReport() *os.File {
	if os.Getenv(reportVariable) == "" {
		return nil
	}
	os.Unsetenv(reportVariable)
	syscall.CloseOnExec(3)
	return os.NewFile(3, "report")
}

// serveInBackground serves a mount and tells starter when it can be used. An
// error before that is for the caller to tell.
func serveInBackground(c *config, starter *os.File) error {
	handler, closeLog, err := backgroundLog(c)
	if err != nil {
		return err
	}
	defer closeLog()
	log := slog.New(handler)
	told := false
	err = serve(c, log, func(warnings []string) error {
		told = true
		err := json.NewEncoder(starter).Encode(readiness{Warnings: warnings})
		return errors.Join(err, starter.Close())
	})
	if err != nil && told {
		log.Error("ended with an error", "error", err)
	}
	return err
}

// tell reports why nothing is mounted. Where the mount was already reported as
// ready, or nobody listens any more, there is nobody to tell.
func tell(starter io.Writer, err error) {
	var usage *usageError
	_ = json.NewEncoder(starter).Encode(readiness{Error: err.Error(), Usage: errors.As(err, &usage)})
}
