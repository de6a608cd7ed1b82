package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// Outcomes of the table besides the names of errnos.
const (
	succeeds = "succeeds"
	fails    = "fails"       // mount and umount: exit status 1
	wrong    = "wrong bytes" // in what is read
)

// isOutcome says in which way what was seen is not the outcome.
func isOutcome(want string, r report) error {
	is := len(r.Errnos) > 0
	for _, name := range r.Errnos {
		is = is && name == want
	}
	switch {
	case want == succeeds:
		is = r.Text == ""
	case want == wrong:
		is = r.Wrong
	}
	if !is {
		return fmt.Errorf("after %v: %q, want %s", r.Took.Round(time.Millisecond), r.Text, want)
	}
	return nil
}

// mountUnder mounts, under the fault if that strikes mounting.
func (tr *trial) mountUnder() {
	about := tr.Table.Requests[mounting]
	if !tr.chosen(Operation{Name: mounting}) {
		tr.mount = tr.through.Mount(tr.t, tr.flags()...)
		return
	}
	want, err := tr.Table.Outcome(tr.fault, mounting, tr.server.Mode)
	harness.Must(tr.t, err)
	if tr.gate != nil {
		tr.gate.turn(tr.t, tr.fault.gate)
		took, err := tr.refused()
		if want != fails || err == nil || took > tr.bound() {
			tr.t.Errorf("mount under the fault: %v after %v, want that it %s", err, took, want)
		}
		tr.gate.turn(tr.t, open)
		tr.mount = tr.through.Mount(tr.t, tr.flags()...)
		return
	}
	rules := tr.fault.arm(tr.faults, about)
	tr.mount = tr.through.Mount(tr.t, tr.flags()...) // fails the test if it cannot
	if want != succeeds {
		tr.t.Errorf("mount succeeded, want that it %s", want)
	}
	for request, rule := range rules {
		if rule.Hits() == 0 {
			tr.t.Errorf("mount: no %s went wrong", request)
		}
	}
	tr.faults.Clear()
}

// refused tries to mount where that should fail, and must say why.
func (tr *trial) refused() (took time.Duration, err error) {
	dir := tr.t.TempDir()
	args := append([]string{"mount", tr.through.Target(), dir, "--state-dir", tr.t.TempDir()}, tr.through.Flags()...)
	start := time.Now()
	out, err := tr.through.Run(tr.t, append(args, tr.flags()...)...)
	took = time.Since(start)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() != 1 {
		tr.t.Errorf("mount: %v\n%s", err, out)
	}
	if _, mounted := harness.Mounts()[dir]; mounted || !strings.HasPrefix(out, "kmsfs: ") {
		tr.t.Errorf("mounted: %v, and said in %s:\n%s", mounted, filepath.Base(dir), out)
	}
	return took, err
}

// unmountUnder changes a mode and unmounts, under the fault if that strikes unmounting.
func (tr *trial) unmountUnder() {
	if !tr.chosen(Operation{Name: unmounting}) {
		tr.mount.Unmount()
		return
	}
	want, err := tr.Table.Outcome(tr.fault, unmounting, tr.server.Mode)
	harness.Must(tr.t, err)
	s := &site{dir: tr.mount.Dir}
	tr.server.Put(tr.t, "pending", small)
	_, err = os.Stat(s.path("pending"))
	harness.Must(tr.t, err)
	harness.Must(tr.t, os.Chmod(s.path("pending"), 0o600))
	rules := map[string]*wire.Rule{}
	end := func() {}
	if tr.gate != nil {
		tr.fault.outage = min(tr.fault.outage, shortOutage) // harness.Limit is near
		end = tr.begin(nil)
	} else {
		rules = tr.fault.arm(tr.faults, tr.Table.Requests[unmounting])
	}
	start := time.Now()
	out, err := tr.mount.TryUnmount()
	took := time.Since(start)
	end()
	tr.faults.Clear()
	for request, rule := range rules {
		if rule.Hits() == 0 {
			tr.t.Errorf("umount: no %s went wrong", request)
		}
	}
	if got := map[bool]string{true: succeeds, false: fails}[err == nil]; got != want || took > tr.bound() {
		tr.t.Errorf("umount %s after %v, want that it %s: %v\n%s", got, took, want, err, out)
	}
	if err != nil {
		tr.mount.Unmount()
	}
	tr.mount.Wait()
	if mode := tr.server.Head(tr.t, "pending").Metadata["mode"]; mode != "33152" {
		tr.t.Errorf("the mode that was set before umount is %q", mode)
	}
}
