package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mounts returns the kernel's table of mounts, bottom first
// (https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html).
func mounts() ([]mountEntry, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the table of mounts: %w; is /proc mounted?", err)
	}
	var all []mountEntry
	for line := range strings.Lines(string(table)) {
		left, right, ok := strings.Cut(line, " - ")
		fields, tail := strings.Fields(left), strings.Fields(right)
		if !ok || len(fields) < 5 || len(tail) < 2 {
			continue
		}
		all = append(all, mountEntry{dir: unescapeMount(fields[4]), kind: tail[0], source: unescapeMount(tail[1])})
	}
	return all, nil
}

// unescapeMount undoes the octal escapes of spaces, tabs and backslashes.
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// detach removes the mount from the tree at once, whoever uses it.
func detach(dir string) error {
	err := unix.Unmount(dir, unix.MNT_DETACH)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	cmd := exec.Command("fusermount3", "-u", "-z", dir)
	cmd.Env = []string{} // credentials are not its business
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// maxHolders is how many users of a mount are named; more help nobody.
const maxHolders = 5

// holders names processes that have files open below dir or work there, as
// far as this user may see. It asks only for links, never the mount itself.
func holders(dir string) []string {
	pids, _ := filepath.Glob("/proc/[0-9]*")
	var found []string
	for _, proc := range pids {
		links, _ := filepath.Glob(proc + "/fd/*")
		for _, link := range append(links, proc+"/cwd", proc+"/root", proc+"/exe") {
			target, err := os.Readlink(link)
			if err != nil || target != dir && !strings.HasPrefix(target, dir+"/") {
				continue
			}
			name, _ := os.ReadFile(proc + "/comm")
			found = append(found, fmt.Sprintf("%s (process %s): %s", strings.TrimSpace(string(name)), filepath.Base(proc), target))
			break
		}
		if len(found) == maxHolders {
			break
		}
	}
	return found
}

// checkFUSE says what this machine lacks for a mount.
func checkFUSE(allowOther bool) error {
	for _, c := range localChecks(allowOther) {
		if c.State == stateFail {
			return fmt.Errorf("mount: %s; %s", c.Detail, c.Remedy)
		}
	}
	return nil
}

// localChecks looks at what a mount needs of this machine.
func localChecks(allowOther bool) []check {
	return fuseChecks(localFacts{
		device:     "/dev/fuse",
		fuseConf:   "/etc/fuse.conf",
		root:       os.Geteuid() == 0,
		allowOther: allowOther,
	})
}

// localFacts are what fuseChecks looks at.
type localFacts struct {
	device, fuseConf string
	root, allowOther bool
}

// deviceRemedy says what to do about a FUSE device that cannot be opened.
func deviceRemedy(err error) string {
	if errors.Is(err, os.ErrPermission) {
		return "mount as root, or let users open it as distributions do (chmod 0666 /dev/fuse)"
	}
	return "load the kernel module (modprobe fuse), or give the container the device (--device /dev/fuse --cap-add SYS_ADMIN)"
}

// fuseChecks looks for the device, the mount helper and the permission to
// share a mount. Root needs none of the last two.
func fuseChecks(f localFacts) []check {
	device := check{Name: "FUSE device", State: stateOK, Detail: f.device}
	if fd, err := os.OpenFile(f.device, os.O_RDWR, 0); err != nil {
		device.fail(fmt.Sprintf("the FUSE device cannot be opened (%v)", err), deviceRemedy(err))
	} else {
		fd.Close()
	}
	helper := check{Name: "fusermount3", State: stateOK}
	path, err := exec.LookPath("fusermount3")
	switch {
	case err == nil:
		helper.Detail = path
	case f.root:
		helper.Detail = "absent, and root mounts without it"
	default:
		helper.fail("fusermount3 is not installed, and only root can mount without it", "install the package fuse3")
	}
	share := check{Name: "allow_other", State: stateOK, Detail: "root may share a mount"}
	if !f.root {
		conf, _ := os.ReadFile(f.fuseConf)
		switch {
		case hasLine(string(conf), "user_allow_other"):
			share.Detail = "user_allow_other is set in " + f.fuseConf
		case f.allowOther:
			share.fail("--allow-other is not permitted to users here, nor is --allow-root", "add the line user_allow_other to "+f.fuseConf+", or leave it out")
		default:
			share.Detail = "not permitted to users here, and not asked for"
		}
	}
	return []check{device, helper, share}
}

// hasLine says whether text has the line, without regard to blanks around it.
func hasLine(text, want string) bool {
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == want {
			return true
		}
	}
	return false
}
