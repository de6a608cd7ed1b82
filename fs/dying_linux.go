package fs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// dying reports whether the thread pid is being killed or is gone. Zero is a
// caller in another pid namespace, of which nothing is known.
func dying(pid uint32) bool {
	if pid == 0 {
		return false
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return statusDying(status)
}

// statusDying reads the text of /proc/PID/status (proc(5)): a zombie or dead
// task, or a SIGKILL pending for the thread or its process.
func statusDying(status []byte) bool {
	const kill = uint64(1) << (syscall.SIGKILL - 1)
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		name, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		value = bytes.TrimSpace(value)
		switch string(name) {
		case "State":
			if len(value) > 0 && (value[0] == 'Z' || value[0] == 'X') {
				return true
			}
		case "SigPnd", "ShdPnd":
			if set, err := strconv.ParseUint(string(value), 16, 64); err == nil && set&kill != 0 {
				return true
			}
		}
	}
	return false
}
