package fs

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestStatusTellsWhoIsKilled(t *testing.T) {
	for status, want := range map[string]bool{
		"State:\tS (sleeping)\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n":   false,
		"State:\tD (disk sleep)\nSigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n": true,
		"State:\tD (disk sleep)\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n": true,
		"State:\tD (disk sleep)\nSigPnd:\t0000000000000002\nShdPnd:\t0000000000004000\n": false, // SIGINT, SIGTERM
		"State:\tZ (zombie)\n": true,
		"":                     false,
	} {
		if got := statusDying([]byte(status)); got != want {
			t.Errorf("dying is %v for %q", got, status)
		}
	}
}

func TestDyingLooksAtProcesses(t *testing.T) {
	if dying(uint32(os.Getpid())) || dying(0) {
		t.Error("this process is said to be dying")
	}
	cat := exec.Command("cat")
	in, err := cat.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	pid := uint32(cat.Process.Pid)
	if dying(pid) {
		t.Error("a waiting process is said to be dying")
	}
	if err := cat.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cat.Wait()
	if !dying(pid) {
		t.Error("a process that is gone is said to live")
	}
}
