package main

import (
	"bufio"
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/kms"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

func TestMountWriteUmount(t *testing.T) {
	w := newWorld(t)
	pidFile := filepath.Join(t.TempDir(), "pid")
	w.mount("--pid-file=" + pidFile)
	w.wantMounted(true)
	w.mustWrite("hello", "world\n")
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if pid, _ := strconv.Atoi(strings.TrimSpace(string(text))); pid != w.pid() || pid == os.Getpid() {
		t.Errorf("pid file says %q, the mount %d", text, w.pid())
	}
	w.want(w.run("mount", "s3://demo/p", w.dir), exitFailure, `busy, s3://demo/p is mounted there \(fuse.kmsfs\); unmount that first`)
	w.must("umount", w.dir)
	w.wantMounted(false)
	if _, err := os.Stat(pidFile); err == nil {
		t.Error("the pid file remains")
	}
	w.mount("--read-only")
	got, err := os.ReadFile(filepath.Join(w.dir, "hello"))
	if string(got) != "world\n" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if err := w.write("other", ""); err == nil {
		t.Error("a read-only mount was written to")
	}
	w.must("umount", w.dir)
}

// created returns how many requests could have made an object.
func created(server *sandbox.Server) int {
	return server.Log.Count("PutObject") + server.Log.Count("CopyObject") + server.Log.Count("CompleteMultipartUpload")
}

func TestBadInputMountsAndWritesNothing(t *testing.T) {
	w := newWorld(t)
	server := w.server
	asymmetric, err := server.KMS.CreateKey(kms.KeyOptions{Spec: "RSA_2048", Usage: "ENCRYPT_DECRYPT"})
	if err != nil {
		t.Fatal(err)
	}
	disabled, err := server.KMS.CreateKey(kms.KeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.KMS.Disable(disabled); err != nil {
		t.Fatal(err)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(full, "precious")
	const bucket = "s3://demo"
	for _, test := range []struct {
		name string
		args []string
		env  []string
		deny string
		code int
		text string
	}{
		{name: "unknown bucket", args: []string{"s3://absent", w.dir}, code: 1, text: `open bucket absent: .*; check the name`},
		{name: "no credentials", env: []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_SHARED_CREDENTIALS_FILE=/absent", "AWS_CONFIG_FILE=/absent"},
			args: []string{bucket, w.dir}, code: 1, text: `credentials.*;`},
		{name: "wrong region", args: []string{bucket, w.dir, "--region=eu-west-1"}, code: 1, text: `region`},
		{name: "no permission to list", deny: "s3:ListBucket", args: []string{bucket, w.dir}, code: 1, text: `s3:ListBucket`},
		{name: "no permission to write", deny: "s3:PutObject", args: []string{bucket, w.dir}, code: 1, text: `s3:PutObject`},
		{name: "no permission to use the key", deny: "kms:GenerateDataKey", args: []string{bucket, w.dir}, code: 1, text: `kms:GenerateDataKey`},
		{name: "missing directory", args: []string{bucket, w.dir + "/absent"}, code: 1, text: `there is no such directory; create it first`},
		{name: "missing parent", args: []string{bucket, w.dir + "/absent/too"}, code: 1, text: `no such file or directory; create the directory first`},
		{name: "file", args: []string{bucket, file}, code: 1, text: `not a directory; choose one`},
		{name: "not empty", args: []string{bucket, full}, code: 1, text: `not empty \(precious is in it\).*; choose an empty directory`},
		{name: "busy", args: []string{bucket, "/proc"}, code: 1, text: `busy, proc is mounted there`},
		{name: "context", args: []string{bucket, w.dir, "--encryption-context=team"}, code: 2, text: `--encryption-context: "team" is not a pair; write it as KEY=VALUE`},
		{name: "dsse with bucket key", args: []string{bucket, w.dir, "--sse=aws:kms:dsse", "--bucket-key"}, code: 2, text: `no bucket keys for aws:kms:dsse; leave out one`},
		{name: "part size", args: []string{bucket, w.dir, "--part-size=1MiB"}, code: 2, text: `out of range; use 5.0 MiB to 5.0 GiB`},
		{name: "later flag", args: []string{bucket, w.dir, "--metrics=:9100"}, code: 2, text: `unknown flag: --metrics`},
		{name: "later option", args: []string{bucket, w.dir, "-o", "salvage=x"}, code: 2, text: `-o salvage: unknown option`},
		{name: "plain http elsewhere", args: []string{bucket, w.dir, "--endpoint-url=http://192.0.2.1"}, code: 1, text: `--insecure-http|https`},
		{name: "unknown key", args: []string{bucket, w.dir, "--sse-kms-key-id=alias/absent"}, code: 1, text: `alias/absent.*;`},
		{name: "disabled key", args: []string{bucket, w.dir, "--sse-kms-key-id=" + disabled}, code: 1, text: `disabled.*;`},
		{name: "asymmetric key", args: []string{bucket, w.dir, "--sse-kms-key-id=" + asymmetric}, code: 1, text: `(?i)symmetric.*;`},
		{name: "no CA file", args: []string{bucket, w.dir, "--ca-bundle=/absent"}, code: 1, text: `/absent.*;`},
		{name: "directory bucket", args: []string{"s3://x--use1-az4--x-s3", w.dir}, code: 1, text: `directory bucket; `},
		{name: "no bucket", args: []string{"demo", w.dir}, code: 2, text: `names no bucket; write it as s3://BUCKET`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := *w
			w.t, w.env = t, append(append([]string{}, w.env...), test.env...)
			if test.deny != "" {
				defer server.Denials.Add(wire.Denial{Action: test.deny})()
			}
			before := created(server)
			w.want(w.run(append([]string{"mount"}, test.args...)...), test.code, `(?s)^kmsfs: [^\n]*\n$`)
			w.want(w.run(append([]string{"mount"}, test.args...)...), test.code, test.text)
			w.wantMounted(false)
			if now := created(server); now != before {
				t.Errorf("%d objects were written", now-before)
			}
		})
	}
}

func TestForegroundNotifiesDrainsAndEnds(t *testing.T) {
	w := newWorld(t)
	socket := filepath.Join(t.TempDir(), "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	w.env = append(w.env, "NOTIFY_SOCKET="+socket)
	states := make(chan string, 100)
	go func() { // ends with the socket
		defer close(states)
		buf := make([]byte, 4096)
		for {
			n, err := notify.Read(buf)
			if err != nil {
				return
			}
			states <- string(buf[:n])
		}
	}()
	cmd := w.command("mount", "s3://demo/p", w.dir, "--foreground")
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if got := <-states; got != "READY=1" {
		t.Errorf("first state %q", got)
	}
	w.mustWrite("a", "b")
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, &log)
	}
	if got := <-states; got != "STOPPING=1" {
		t.Errorf("second state %q", got)
	}
	w.wantMounted(false)
	if !strings.Contains(log.String(), "msg=unmounted") {
		t.Errorf("log: %s", &log)
	}
}

func TestSignalWaitsAndASecondOneAborts(t *testing.T) {
	for _, abort := range []bool{false, true} {
		w := newWorld(t)
		w.mount()
		hang := w.server.Faults.Add(wire.Fault{Kind: wire.Hang, Op: "PutObject"})
		written := make(chan error, 1)
		go func() { written <- w.write("slow", "data") }()
		w.eventually("the upload began", func() bool { return hang.Hits() > 0 })
		pid := w.pid()
		syscall.Kill(pid, syscall.SIGTERM)
		w.eventually("the signal was taken", func() bool {
			text, _ := os.ReadFile(w.log)
			return strings.Contains(string(text), "draining")
		})
		w.wantMounted(true)
		if abort {
			syscall.Kill(pid, syscall.SIGTERM)
		} else {
			hang.Remove()
		}
		w.eventually("the process is gone", func() bool { return syscall.Kill(pid, 0) != nil })
		if err := <-written; (err != nil) != abort {
			t.Errorf("abort %v: write returned %v", abort, err)
		}
		w.wantMounted(false)
		hang.Remove()
	}
}

func TestWhatChangesWhileASignalDrainsIsSaved(t *testing.T) {
	w := newWorld(t)
	w.mount()
	for _, name := range []string{"early", "late"} {
		w.mustWrite(name, "data")
	}
	open, err := os.Open(filepath.Join(w.dir, "early"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	hang := w.server.Faults.Add(wire.Fault{Kind: wire.Hang, Op: "CopyObject"})
	if err := os.Chmod(open.Name(), 0o600); err != nil {
		t.Fatal(err)
	}
	pid := w.pid()
	syscall.Kill(pid, syscall.SIGTERM)
	w.eventually("the drain writes attributes", func() bool { return hang.Hits() > 0 })
	if err := os.Chmod(filepath.Join(w.dir, "late"), 0o600); err != nil {
		t.Fatal(err)
	}
	hang.Remove()
	open.Close()
	w.eventually("the process is gone", func() bool { return syscall.Kill(pid, 0) != nil })
	w.mount()
	info, err := os.Stat(filepath.Join(w.dir, "late"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	w.must("umount", w.dir)
}

func TestADeadMountIsRemovedAndReplaced(t *testing.T) {
	w := newWorld(t)
	for _, remedy := range []string{"umount", "mount"} {
		w.mount()
		pid := w.pid()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		w.eventually("the mount is dead", func() bool {
			_, err := os.Lstat(w.dir)
			return err != nil
		})
		if remedy == "umount" {
			w.want(w.run("umount", w.dir), exitOK, `process of this mount had died`)
		} else {
			w.want(w.run("mount", "s3://demo/p", w.dir), exitOK, `earlier mount on .* had died; its mount was removed`)
			w.must("umount", w.dir)
		}
		w.wantMounted(false)
	}
}

func TestHelperOfMount(t *testing.T) {
	w := newWorld(t)
	helper := filepath.Join(t.TempDir(), helperName)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, helper); err != nil {
		t.Fatal(err)
	}
	call := func(args ...string) outcome {
		cmd := exec.CommandContext(t.Context(), helper, args...)
		cmd.Env = w.env
		return w.wait(cmd)
	}
	w.want(call("s3://demo/p", w.dir, "-o", "rw,_netdev,nofail,log-file="+w.log, "-f"), 0, `^$`)
	w.wantMounted(false)
	w.want(call("s3://demo/p", w.dir, "-n", "-v", "-o", "ro,_netdev,nofail,user,x-systemd.automount,noexec,log_file="+w.log), 0, `^$`)
	w.wantMounted(true)
	if err := w.write("x", ""); err == nil {
		t.Error("ro had no effect")
	}
	var options string
	table, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for lines := bufio.NewScanner(table); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); fields[4] == w.dir {
			options = fields[5]
		}
	}
	for _, want := range []string{"ro", "nosuid", "nodev", "noexec"} {
		if !strings.Contains(","+options+",", ","+want+",") {
			t.Errorf("mount options %q lack %s", options, want)
		}
	}
	w.must("umount", w.dir)
	w.want(call("s3://demo/p", w.dir, "-o", "allow_othre"), mountUsage, `unknown option`)
	w.want(call("s3://demo/p", w.dir, "-s", "-o", "allow_othre,log_file="+w.log), 0, `"allow_othre" is unknown and has no effect`)
	w.must("umount", w.dir)
	w.want(call("s3://absent", w.dir), mountFailure, `open bucket absent`)
	w.wantMounted(false)
}

func TestMountByConfigurationFile(t *testing.T) {
	w := newWorld(t)
	name := filepath.Join(t.TempDir(), "backup.toml")
	text := "source = \"s3://demo/p\"\ndir = \"" + w.dir + "\"\nlog_file = \"" + w.log + "\"\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.must("mount", "--config", name)
	w.wantMounted(true)
	w.must("umount", w.dir)
}
