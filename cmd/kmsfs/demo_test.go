package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// demoWorld returns a world whose temporary files lie in a directory of the
// test, and a small tree of files.
func demoWorld(t *testing.T) (w *world, temp, tree string) {
	w = newWorld(t)
	temp, tree = t.TempDir(), t.TempDir()
	for _, name := range []string{"a", "b/c", "b/d/empty", "b/d/large"} {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		content := strings.Repeat(name, len(name)*len(name)*1000)
		if name == "b/d/empty" {
			content = ""
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.env = append(w.env, "TMPDIR="+temp)
	return w, temp, tree
}

// wantNothingLeft checks that the demo removed all that it made.
func (w *world) wantNothingLeft(temp string) {
	w.t.Helper()
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		w.t.Errorf("the demo left %v, error %v", left, err)
	}
	all, err := mounts()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range all {
		if strings.HasPrefix(m.dir, temp) || m.dir == w.dir {
			w.t.Errorf("the demo left a mount: %+v", m)
			detach(m.dir)
		}
	}
}

func TestDemo(t *testing.T) {
	w, temp, tree := demoWorld(t)
	out := w.must("demo", "--tree", tree, "--size", "21MiB")
	for _, want := range []string{
		"[12/12] remove everything", "4 files", "aws:kms under arn:aws:kms:", "300 for 300 without",
		"permission denied", "key has been revoked", "user.kmsfs.last_error: ", "all equal",
		"2 KMS calls for 300 files", "kmsfs decrypt opens it",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	w.wantNothingLeft(temp)
}

func TestDemoOnADirectoryLeavesTheDirectory(t *testing.T) {
	w, temp, tree := demoWorld(t)
	cmd := w.command("demo", "--tree", tree, "--size", "100GiB", w.dir)
	var out syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.eventually("the large file is being written", func() bool { return strings.Contains(out.String(), "write: ") })
	cmd.Process.Signal(os.Interrupt)
	cmd.Process.Signal(syscall.SIGTERM) // at once: the same signal, as far as we know
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != exitFailure {
		t.Errorf("interrupted: %v", err)
	}
	if !strings.Contains(out.String(), "remove everything") || !strings.Contains(out.String(), "kmsfs: interrupted") {
		t.Errorf("it said:\n%s", out.String())
	}
	w.wantNothingLeft(temp)
	if left, err := os.ReadDir(w.dir); err != nil || len(left) > 0 {
		t.Errorf("the directory given has %v, error %v", left, err)
	}
}

func TestDemoFailsWhereItsDirectoryIsInUse(t *testing.T) {
	w, temp, tree := demoWorld(t)
	w.want(w.run("demo", "--tree", tree, tree), exitFailure, `not empty`)
	w.wantNothingLeft(temp)
	if _, err := os.Stat(filepath.Join(tree, "a")); err != nil {
		t.Error(err)
	}
}
