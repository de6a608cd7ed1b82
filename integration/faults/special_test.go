package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// sandboxed starts one whose mounts are not raced.
func sandboxed(t *testing.T) *harness.Server {
	t.Helper()
	s := harness.Sandbox(t).In(t, harness.ChosenMode())
	s.Plain = true
	return s
}

// second are credentials that come after those of the harness.
var second = wire.Identity{AccessKey: "second", SecretKey: "second-secret", ARN: "arn:aws:iam::111122223333:user/second"}

// usedLast fails unless the newest PutObject of the key was made with the second credentials.
func usedLast(t *testing.T, s *harness.Server, key string) {
	t.Helper()
	caller := ""
	for _, r := range s.Sandbox.Log.Requests() {
		if r.Op == "PutObject" && r.Key == key {
			caller = r.Caller
		}
	}
	if caller != second.ARN {
		t.Errorf("%s was made by %q", key, caller)
	}
}

// A server says that credentials are over, and the file that they came from
// has others by now: the mount takes them.
func TestCredentialsInAFileAreReadAgain(t *testing.T) {
	t.Parallel()
	s := sandboxed(t)
	s.Sandbox.AddIdentity(second)
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(access, secret string) {
		harness.Write(t, file, fmt.Appendf(nil, "[night]\naws_access_key_id = %s\naws_secret_access_key = %s\n", access, secret))
	}
	write("kmsfs", "kmsfs-secret")
	m := s.With("AWS_SHARED_CREDENTIALS_FILE="+file).Mount(t, "--profile", "night", "--timeout", patient.String())
	harness.Write(t, m.Path("first"), small)
	write(second.AccessKey, second.SecretKey)
	s.Sandbox.Faults.Add(wire.Fault{Op: "PutObject", Kind: wire.Answer, Status: 400, Code: "ExpiredToken", Times: 1})
	harness.Write(t, m.Path("f"), small)
	usedLast(t, s, "f")
	harness.Equal(t, "f", s.Get(t, "f"), small)
	m.Unmount()
}

// A program that gives credentials for a while fails when they are over, and
// recovers: what is written meanwhile waits for it.
func TestCredentialProcessIsAskedUntilItAnswers(t *testing.T) {
	t.Parallel()
	const lifetime = 4 * time.Second
	s := sandboxed(t)
	s.Sandbox.AddIdentity(second)
	dir := t.TempDir()
	answer, config := filepath.Join(dir, "answer"), filepath.Join(dir, "config")
	over := time.Now().Add(lifetime)
	harness.Write(t, answer, fmt.Appendf(nil, `{"Version": 1, "AccessKeyId": "kmsfs", "SecretAccessKey": "kmsfs-secret", "Expiration": %q}`, over.UTC().Format(time.RFC3339)))
	harness.Write(t, config, []byte("[profile night]\ncredential_process = /bin/cat "+answer+"\n"))
	m := s.With("AWS_CONFIG_FILE="+config).Mount(t, "--profile", "night", "--timeout", patient.String())
	harness.Write(t, m.Path("first"), small)
	harness.Must(t, os.Remove(answer))
	<-time.After(time.Until(over))
	restored := make(chan error, 1)
	time.AfterFunc(time.Second, func() {
		text := fmt.Appendf(nil, `{"Version": 1, "AccessKeyId": %q, "SecretAccessKey": %q}`, second.AccessKey, second.SecretKey)
		restored <- errors.Join(os.WriteFile(answer+".new", text, 0o600), os.Rename(answer+".new", answer))
	})
	harness.Write(t, m.Path("f"), small)
	harness.Must(t, <-restored)
	usedLast(t, s, "f")
	harness.Equal(t, "f", s.Get(t, "f"), small)
	m.Unmount()
}

// A name that does not exist is told at once, and by its name.
func TestMountOfANameThatIsNot(t *testing.T) {
	t.Parallel()
	s := sandboxed(t)
	dir := t.TempDir()
	start := time.Now()
	out, err := s.Run(t, "mount", s.Target(), dir, "--state-dir", t.TempDir(), "--endpoint-url", "https://s3.no-such-host.invalid", "--path-style")
	if took := time.Since(start); err == nil || took > 30*time.Second {
		t.Errorf("mount: %v after %v", err, took)
	}
	if _, mounted := harness.Mounts()[dir]; mounted || !strings.Contains(out, "no-such-host.invalid") {
		t.Errorf("mounted: %v, and said:\n%s", mounted, out)
	}
}

// A full spool refuses what it cannot hold, and loses nothing of what it took.
func TestFullSpool(t *testing.T) {
	t.Parallel()
	s := sandboxed(t)
	m := s.Mount(t, "--memory", "32MiB", "--spool-size", "5MiB")
	base := bytes.Repeat(large, 3)
	s.Put(t, "f", base)
	f, err := os.OpenFile(m.Path("f"), os.O_WRONLY, 0)
	harness.Must(t, err)
	piece := harness.Random(9, 1<<20)
	for off := 0; ; {
		n, err := syscall.Pwrite(int(f.Fd()), piece, int64(off)) // WriteAt does not tell what was taken before an error
		off += copy(base[off:], piece[:max(n, 0)])
		if err != nil {
			harness.WantErrno(t, "write", err, syscall.ENOSPC)
			break
		}
		if off+len(piece) > len(base) {
			t.Fatal("memory and spool took everything")
		}
	}
	harness.Must(t, f.Close())
	harness.Equal(t, "what was accepted", s.Get(t, "f"), base)
	harness.Write(t, m.Path("next"), medium)
	m.Unmount()
	s.MustBeEncrypted(t)
}

// More writers than memory has room for wait for each other, and for nothing
// else.
func TestMemoryIsShort(t *testing.T) {
	t.Parallel()
	s := sandboxed(t)
	m := s.Mount(t, "--memory", "32MiB", "--part-size", PartSize)
	var g errgroup.Group
	for i := range 6 {
		g.Go(func() error { return os.WriteFile(m.Path(fmt.Sprint(i)), large, 0o644) })
	}
	harness.Must(t, g.Wait())
	m.Unmount()
	for i := range 6 {
		harness.Equal(t, fmt.Sprint(i), s.Get(t, fmt.Sprint(i)), large)
	}
}

// Clocks that differ by an hour, from the start or all at once, are no reason to
// fail: answers tell the time.
func TestClocksDiffer(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]struct{ start, later time.Duration }{
		"from the start": {time.Hour, time.Hour},
		"all at once":    {0, time.Hour},
		"back again":     {-time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sandboxed(t)
			s.Sandbox.SetClock(at.start)
			t.Cleanup(func() { s.Sandbox.SetClock(0) }) // for the harness's own client
			m := s.Mount(t, "--attr-ttl", "0", "--timeout", impatient.String())
			harness.Write(t, m.Path("f"), small)
			s.Sandbox.SetClock(at.later)
			harness.Want(t, m.Path("f"), small)
			harness.Write(t, m.Path("g"), small)
			harness.Must(t, os.Rename(m.Path("g"), m.Path("h")))
			harness.Must(t, os.Remove(m.Path("f")))
			m.Unmount()
		})
	}
}

// Listings that are older than what was done: no content is lost or mixed, nobody
// is told of a conflict, and what is asked for by name is there.
func TestStaleListings(t *testing.T) {
	t.Parallel()
	s := sandboxed(t)
	m := s.Mount(t)
	write := func(name string, content []byte) { harness.Write(t, m.Path("d", name), content) }
	harness.Must(t, os.Mkdir(m.Path("d"), 0o755))
	for _, name := range []string{"kept", "removed", "renamed"} {
		write(name, small)
	}
	m.Unmount()
	fresh, err := s.Sandbox.S3.StaleListings(s.Bucket)
	harness.Must(t, err)
	m = s.Mount(t)
	write("new", medium)
	write("kept", medium)
	harness.Must(t, os.Remove(m.Path("d/removed")))
	harness.Must(t, os.Rename(m.Path("d/renamed"), m.Path("d/other")))
	check := func() {
		t.Helper()
		for name, want := range map[string][]byte{"kept": medium, "new": medium, "other": small} {
			harness.Want(t, m.Path("d", name), want)
		}
		for _, name := range []string{"removed", "renamed"} {
			_, err := os.ReadFile(m.Path("d", name))
			harness.WantErrno(t, "read what is gone", err, syscall.ENOENT)
		}
	}
	check()
	m.Unmount()
	m = s.Mount(t)
	check()
	harness.WantErrno(t, "rmdir", syscall.Rmdir(m.Path("d")), syscall.ENOTEMPTY)
	f, err := os.OpenFile(m.Path("d/kept"), os.O_WRONLY|os.O_APPEND, 0)
	harness.Must(t, err)
	_, err = f.Write(small)
	harness.Must(t, errors.Join(err, f.Close()))
	fresh()
	m.Unmount()
	m = s.Mount(t, "--read-only")
	harness.Want(t, m.Path("d/kept"), append(bytes.Clone(medium), small...))
	names, err := os.ReadDir(m.Path("d"))
	harness.Must(t, err)
	if len(names) != 3 {
		t.Errorf("found %v", names)
	}
}
