package crypto

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// withoutMlock runs f on a thread that may lock no memory.
func withoutMlock(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var before [2]unix.CapUserData
	if err := unix.Capget(&header, &before[0]); err != nil {
		t.Fatal(err)
	}
	without := before
	without[0].Effective &^= 1 << unix.CAP_IPC_LOCK
	if err := unix.Capset(&header, &without[0]); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Capset(&header, &before[0]); err != nil {
			t.Fatal(err)
		}
	}()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

func TestKeyringWithoutLockedMemory(t *testing.T) {
	withoutMlock(t, func() {
		o := KeyringOptions{Bucket: testBucket, RequireMlock: true}
		if k, err := NewKeyring(nil, o); err == nil {
			k.Close()
			t.Error("a keyring that needs locked memory goes without")
		} else if !strings.Contains(err.Error(), "LimitMEMLOCK") {
			t.Errorf("the remedy is not named: %v", err)
		}
		var warnings []string
		o.RequireMlock, o.Warn = false, func(text string) { warnings = append(warnings, text) }
		k, err := NewKeyring(nil, o)
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		for range 2 * os.Getpagesize() / dataKeySize { // of more than one page
			defer filled(t, k.vault, 1).Release()
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0], "LimitMEMLOCK") {
			t.Errorf("warnings: %q", warnings)
		}
	})
}

// TestLaterPagesWithoutLock: the limit is reached while keys are in use.
func TestLaterPagesWithoutLock(t *testing.T) {
	for _, require := range []bool{false, true} {
		warnings := 0
		v, err := newVault(require, func(string) { warnings++ })
		if err != nil {
			t.Fatal(err)
		}
		for range os.Getpagesize() / dataKeySize {
			defer filled(t, v, 1).Release()
		}
		withoutMlock(t, func() {
			key, err := v.store(make([]byte, dataKeySize), "group")
			if (err != nil) != require || (warnings != 1) != require {
				t.Errorf("required %v: %v, %d warnings", require, err, warnings)
			}
			if err == nil {
				key.Release()
			}
		})
	}
}

// TestDataKeysAreLocked reads what the kernel says of a page of keys.
func TestDataKeysAreLocked(t *testing.T) {
	o := KeyringOptions{Bucket: testBucket, RequireMlock: true}
	k, err := NewKeyring(nil, o)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(flagsOf(string(smaps), &k.vault.pages[0].bytes()[0]), " lo ") {
		t.Error("the page is not locked")
	}
	for _, flag := range []string{" dd ", " wf "} { // not dumped, wiped on fork
		if !strings.Contains(flagsOf(string(smaps), &k.vault.pages[0].bytes()[0]), flag) {
			t.Errorf("the page lacks the flag %s", flag)
		}
	}
}

// flagsOf returns the line VmFlags of the mapping that p points into.
// https://www.kernel.org/doc/html/latest/filesystems/proc.html
func flagsOf(smaps string, p *byte) string {
	at := uintptr(unsafe.Pointer(p))
	inside := false
	for line := range strings.Lines(smaps) {
		var from, to uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			inside = from <= at && at < to
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			return flags
		}
	}
	return ""
}
