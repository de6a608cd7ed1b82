package programs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// tool runs a program that must succeed, and returns what it prints.
func tool(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v; what is missing is installed by scripts/deps\n%s", name, args, err, out)
	}
	t.Logf("%s %v:\n%s", name, args, out) // shown if the test fails
	return string(out)
}

// backups are programs that back up the directory at twice and keep what they
// need in base. Each returns the files that it read, by its own account.
var backups = []struct {
	name string
	run  func(t *testing.T, at, base string, env []string) []string
}{
	{"restic", func(t *testing.T, at, base string, env []string) []string {
		return readBy(tool(t, env, "restic", "backup", "-vv", at), at, regexp.MustCompile(`(?m)^(?:new|modified) +(/.*[^/\n]), saved in .*$`))
	}},
	{"borg", func(t *testing.T, at, base string, env []string) []string {
		// It forgets the files that were changed last: here that is none of the mount.
		last := filepath.Join(base, "last")
		tool(t, env, "touch", last)
		return readBy(tool(t, env, "borg", "create", "--list", "::{now:%s.%f}", at, last), at, regexp.MustCompile(`(?m)^[AMC] (/.*)$`))
	}},
	// A mount has another device number each time: tar must not look at that.
	{"tar", func(t *testing.T, at, base string, env []string) []string {
		archive := filepath.Join(base, "tar")
		tool(t, env, "tar", "-P", "--no-check-device", "--listed-incremental="+base+"/snar", "-cf", archive, at)
		return readBy(tool(t, env, "tar", "-P", "-tf", archive), at, regexp.MustCompile(`(?m)^(/.*[^/\n])$`))
	}},
}

// readBy finds the paths in a program's report, sorted and relative to the
// directory at.
func readBy(report, at string, path *regexp.Regexp) (names []string) {
	for _, match := range path.FindAllStringSubmatch(report, -1) {
		if name, ok := strings.CutPrefix(match[1], at+"/"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestBackupOfUnchangedMount backs a mount up twice, with a remount between:
// the second time no program reads a file, by its own account and by S3's. What
// is changed after that it reads.
func TestBackupOfUnchangedMount(t *testing.T) {
	srv := harness.Sandbox(t).In(t, harness.ChosenMode())
	srv.Plain = true // it is counted what is read
	base, at := t.TempDir(), t.TempDir()
	env := []string{
		"RESTIC_PASSWORD=test", "RESTIC_REPOSITORY=" + base + "/restic", "RESTIC_CACHE_DIR=" + base + "/cache",
		"BORG_PASSPHRASE=test", "BORG_REPO=" + base + "/borg", "BORG_BASE_DIR=" + base, "TZ=UTC", "LC_ALL=C.UTF-8",
	}
	tool(t, env, "restic", "init")
	tool(t, env, "borg", "init", "--encryption", "none")
	m := srv.MountAt(t, at)
	tool(t, nil, "cp", "-a", filepath.Join(makeBlobs(t), "tree"), m.Path("tree"))
	for _, b := range backups {
		if read := b.run(t, at, base, env); !slices.Contains(read, "tree/a/small") {
			t.Errorf("the first backup by %s reads %q", b.name, read)
		}
	}
	m.Unmount()
	m = srv.MountAt(t, at)
	// The target of a link is content, and so is the seal that proves an empty file to be empty.
	proofs := []string{"tree/dangling", "tree/b/link", "tree/empty"}
	for _, b := range backups {
		srv.Sandbox.Log.Reset()
		if read := b.run(t, at, base, env); read != nil {
			t.Errorf("the second backup by %s reads %q", b.name, read)
		}
		for _, r := range srv.Sandbox.Log.Requests() {
			if r.Op == "GetObject" && !slices.Contains(proofs, r.Key) {
				t.Errorf("the second backup by %s sends %s %s", b.name, r.Op, r.Key)
			}
		}
	}
	harness.Write(t, m.Path("tree/a/executable"), []byte("changed"))
	tool(t, nil, "touch", m.Path("tree/empty"))
	for _, b := range backups {
		if read := b.run(t, at, base, env); !slices.Equal(read, []string{"tree/a/executable", "tree/empty"}) {
			t.Errorf("after a change %s reads %q", b.name, read)
		}
	}
}
