package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// TestStopByServiceManager: systemd is asked for more time as long as something is
// saved or kept; when --drain-timeout is over it is kept, and the status is 1.
func TestStopByServiceManager(t *testing.T) {
	w := newWorld(t)
	socket := filepath.Join(t.TempDir(), "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	dir := filepath.Join(t.TempDir(), "salvage")
	w.env = append(w.env, "NOTIFY_SOCKET="+socket, "KMSFS_SALVAGE_DIR="+dir)
	var states syncBuffer
	go func() { // ends with the socket
		buf := make([]byte, 4096)
		for {
			n, err := notify.Read(buf)
			if err != nil {
				return
			}
			states.Write(append(buf[:n:n], '\n'))
		}
	}()
	cmd := w.command("mount", "s3://demo/p", w.dir, "--foreground", "--drain-timeout=1s")
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is mounted", func() bool { return strings.Contains(states.String(), "READY=1") })
	hang := w.server.Faults.Add(wire.Fault{Kind: wire.Hang, Op: "PutObject"})
	defer hang.Remove()
	written := make(chan error, 1)
	go func() { written <- w.write("slow", "never saved") }()
	w.eventually("the upload began", func() bool { return hang.Hits() > 0 })
	cmd.Process.Signal(syscall.SIGTERM)
	err = cmd.Wait()
	if cmd.ProcessState.ExitCode() != exitFailure {
		t.Errorf("it ended with %v", err)
	}
	if err := <-written; err == nil {
		t.Error("close said that it was saved")
	}
	w.wantMounted(false)
	if got := states.String(); !strings.Contains(got, "STOPPING=1\n") || !strings.Contains(got, "/slow") ||
		strings.Count(got, "EXTEND_TIMEOUT_USEC=30000000\n") < 3 {
		t.Errorf("systemd was told\n%s", got)
	}
	files, err := filepath.Glob(filepath.Join(dir, "slow.*.sealed"))
	if err != nil || len(files) != 1 || !strings.Contains(log.String(), files[0]) {
		t.Fatalf("kept: %q, %v; the log says\n%s", files, err, &log)
	}
	if got := w.must("decrypt", files[0]); got != "never saved" {
		t.Errorf("kept: %q", got)
	}
}

// TestSalvageDirBelowTheMount would wait for itself.
func TestSalvageDirBelowTheMount(t *testing.T) {
	w := newWorld(t)
	w.want(w.run("mount", "s3://demo", w.dir, "--salvage-dir", filepath.Join(w.dir, "x")), exitUsage, `is below the mount itself; name a directory elsewhere`)
}

// TestDoctorSaysWhetherSalvageIsPossible, which no mount needs.
func TestDoctorSaysWhetherSalvageIsPossible(t *testing.T) {
	w := newWorld(t)
	if text := w.must("doctor", "s3://demo/p"); !strings.Contains(text, "when a mount ends is kept in ") || !strings.Contains(text, "/state/salvage") {
		t.Error(text)
	}
	w.server.Faults.Add(wire.Fault{Service: "kms", Op: "GenerateDataKey", Kind: wire.Answer, Status: 400, Code: "AccessDeniedException"})
	if text := w.must("doctor", "s3://demo/p"); !strings.Contains(text, "when a mount ends will not be kept") || strings.Contains(text, "fail ") {
		t.Error(text)
	}
}

// TestToldCanBePasted: whoever names a file of the mount does not get a command run by
// whoever opens what was kept of it.
func TestToldCanBePasted(t *testing.T) {
	for _, path := range []string{"/plain.txt", "/a b", "/x; touch owned", "/it's $(touch owned) `touch owned` & touch owned", "/a&touch=$HOME", "/-rf"} {
		dir := t.TempDir()
		name := filepath.Join(dir, escapedPath(path)+".sealed")
		where, err := told(name, manifest{Path: path, Whole: true})
		if err != nil {
			t.Fatal(err)
		}
		_, command, _ := strings.Cut(where, "open it with: ")
		shell := exec.Command("sh", "-c", `kmsfs() { printf '%s\n' "$@"; }; `+strings.TrimSuffix(command, ")"))
		shell.Dir = dir
		out, err := shell.CombinedOutput()
		file := "FILE"
		if path == "/plain.txt" || path == "/-rf" {
			file = path[1:]
		}
		if want := "decrypt\n" + name + "\n-o\n" + file + "\n"; err != nil || string(out) != want {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
}

func TestEscapedPath(t *testing.T) {
	for path, want := range map[string]string{
		"/a/b c": "a%2Fb%20c", "/.hidden": "%2Ehidden", "/\x1b[2J": "%1B%5B2J", "/-rf": "-rf",
	} {
		if got := escapedPath(path); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
	if got := escapedPath("/" + strings.Repeat("ü", 100)); len(got) > escapedNames+2 || strings.HasPrefix(got, "C3") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

// A directory for salvage that leads into the mount is one below it.
func TestBelowFollowsLinks(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	mount := filepath.Join(root, "mnt")
	if err := errors.Join(os.Mkdir(mount, 0o700), os.Symlink(mount, filepath.Join(root, "link"))); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"": false, "mnt": true, "mnt/a": true, "link": true, "link/a/b": true, "mnt2": false, "other/mnt": false, "link/../x": false,
	} {
		at := path
		if path != "" {
			at = filepath.Join(root, path)
		}
		if got := below(at, mount); got != want {
			t.Errorf("%q: %v, want %v", path, got, want)
		}
	}
}
