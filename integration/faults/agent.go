package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// agentVariable makes a test binary an agent.
const agentVariable = "KMSFS_TEST_FAULTS_AGENT"

// An agent is a process of its own that acts on mounts, and never forks: a
// child that the tests start inherits their descriptors until it executes, and
// would close, and so commit, files of all mounts.
type agent struct {
	orders *json.Encoder

	mu      sync.Mutex
	next    int
	waiting map[int]chan report
}

// order is what the agent is to do: open what act will use, or act.
type order struct {
	ID             int
	Operation, Dir string
	Act            bool
}

// report is what a program saw.
type report struct {
	ID     int
	Text   string   // of the error; "" if there was none
	Errnos []string // the names of all errnos in it
	Wrong  bool     // wrong bytes were seen
	Took   time.Duration
}

// BecomeAgent serves as an agent, and does not return, in processes that were
// started for that. TestMain begins with it.
func BecomeAgent() {
	if os.Getenv(agentVariable) == "" {
		return
	}
	orders, reports := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var mu sync.Mutex // of the two below
	sites := map[string]*site{}
	for {
		var o order
		if orders.Decode(&o) != nil {
			os.Exit(0) // who gave orders is gone
		}
		mu.Lock()
		if sites[o.Dir] == nil {
			sites[o.Dir] = &site{dir: o.Dir}
		}
		s := sites[o.Dir]
		mu.Unlock()
		go func() {
			r := s.carryOut(o)
			mu.Lock()
			defer mu.Unlock()
			_ = reports.Encode(r)
		}()
	}
}

func (s *site) carryOut(o order) report {
	err := fmt.Errorf("no operation %q", o.Operation)
	start := time.Now()
	for _, op := range Operations() {
		switch {
		case op.Name != o.Operation:
		case o.Act:
			err = op.act(s)
		default:
			err = op.open(s)
		}
	}
	r := report{ID: o.ID, Took: time.Since(start), Wrong: errors.Is(err, errWrong)}
	if err != nil {
		r.Text = err.Error()
	}
	for _, n := range errnosOf(err) {
		r.Errnos = append(r.Errnos, unix.ErrnoName(n))
	}
	return r
}

// errnosOf returns every errno in the tree of an error.
func errnosOf(err error) []syscall.Errno {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []syscall.Errno
		for _, e := range joined.Unwrap() {
			all = append(all, errnosOf(e)...)
		}
		return all
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return []syscall.Errno{number}
	}
	return nil
}

// theAgent is the one of this process.
var theAgent = sync.OnceValues(func() (*agent, error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), agentVariable+"=yes")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	a := &agent{orders: json.NewEncoder(in), waiting: map[int]chan report{}}
	go func() {
		for reports := json.NewDecoder(out); ; {
			var r report
			if reports.Decode(&r) != nil {
				_ = cmd.Wait()
				return
			}
			a.mu.Lock()
			a.waiting[r.ID] <- r
			delete(a.waiting, r.ID)
			a.mu.Unlock()
		}
	}()
	return a, nil
})

// do has the agent carry out an order, and waits for that. Where it never ends
// the watchdog of the mount ends it.
func (a *agent) do(o order) report {
	done := make(chan report, 1)
	a.mu.Lock()
	a.next++
	o.ID = a.next
	a.waiting[o.ID] = done
	err := a.orders.Encode(o)
	a.mu.Unlock()
	if err != nil {
		return report{Text: err.Error()}
	}
	return <-done
}
