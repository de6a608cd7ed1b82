package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/integration/suite"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

func statDoesNotWait(t *testing.T) {
	s := sandboxed(t)
	m := s.Mount(t)
	harness.Write(t, m.Path("other"), []byte("x"))
	hang := s.Sandbox.Faults.Add(wire.Fault{Op: "PutObject", Key: "slow", Kind: wire.Hang})
	puts := s.Sandbox.Log.Count("PutObject")
	closed := async(func() error { return os.WriteFile(m.Path("slow"), harness.Random(1, 1000), 0o644) })
	awaitOp(t, s, "PutObject", puts+1)
	within(t, "stat of the file that is being uploaded", 5*time.Second, func() error {
		info, err := os.Stat(m.Path("slow"))
		if err == nil && info.Size() != 1000 {
			err = fmt.Errorf("size %d", info.Size())
		}
		return err
	})
	within(t, "ls", 5*time.Second, func() error { _, err := os.ReadDir(m.Dir); return err })
	within(t, "chmod", 5*time.Second, func() error { return os.Chmod(m.Path("slow"), 0o600) })
	within(t, "create beside it", 5*time.Second, func() error { return os.WriteFile(m.Path("quick"), nil, 0o644) })
	hang.Release()
	if err := await(t, "close", closed); err != nil {
		t.Errorf("close: %v", err)
	}
	harness.Equal(t, "object", s.Get(t, "slow"), harness.Random(1, 1000))
}

func interruptsDoNotTear(t *testing.T) {
	s := sandboxed(t)
	m := s.Mount(t)
	body := harness.Random(1, 40<<20)
	src := filepath.Join(t.TempDir(), "src")
	harness.Must(t, os.WriteFile(src, body, 0o600))
	cmd := exec.Command("dd", "if="+src, "of="+m.Path("f"), "bs=100k", "status=none")
	harness.Must(t, cmd.Start())
	done := async(cmd.Wait)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for running := true; running; {
		select {
		case err := <-done:
			harness.Must(t, err)
			running = false
		case <-tick.C:
			_ = cmd.Process.Signal(syscall.SIGCONT) // restarts and interrupts system calls, and ends nothing
		}
	}
	harness.Want(t, m.Path("f"), body)
}

func drains(t *testing.T) {
	t.Run("SIGTERM", func(t *testing.T) {
		s := sandboxed(t)
		m := s.Mount(t)
		hang, closed := hangingClose(t, s, m)
		m.Signal(syscall.SIGTERM)
		hang.Release()
		if err := await(t, "close", closed); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := m.Wait(); err != nil {
			t.Errorf("the mount ended with %v\n%s", err, m.Log())
		}
		harness.Equal(t, "object", s.Get(t, "slow"), harness.Random(1, 20<<20))
	})
	t.Run("umount names what it waits for", func(t *testing.T) {
		s := sandboxed(t)
		m := s.Mount(t)
		hang, closed := hangingClose(t, s, m)
		type result struct {
			out string
			err error
		}
		ended := make(chan result, 1)
		go func() { out, err := m.TryUnmount(); ended <- result{out, err} }()
		release := time.AfterFunc(2*time.Second, hang.Release)
		defer release.Stop()
		if err := await(t, "close", closed); err != nil {
			t.Errorf("close: %v", err)
		}
		r := <-ended
		if r.err != nil || !strings.Contains(r.out, "slow") {
			t.Errorf("umount: %v; it said:\n%s", r.err, r.out)
		}
		if err := m.Wait(); err != nil {
			t.Errorf("the mount ended with %v", err)
		}
	})
	t.Run("a second SIGTERM aborts", func(t *testing.T) {
		s := sandboxed(t)
		m := s.Mount(t)
		hang, closed := hangingClose(t, s, m)
		m.Signal(syscall.SIGTERM)
		awaitLog(t, m, "msg=draining")
		m.Signal(syscall.SIGTERM)
		if err := m.Wait(); err == nil {
			t.Error("an aborted mount ended with status 0")
		}
		if err := await(t, "close", closed); err == nil {
			t.Error("close returned 0 although the upload was aborted")
		}
		hang.Release()
		m = s.Mount(t) // clears what the abort left
		if _, err := os.Stat(m.Path("slow")); !os.IsNotExist(err) {
			t.Errorf("the aborted file: %v", err)
		}
	})
}

// hangingClose writes a file whose last request hangs.
func hangingClose(t *testing.T, s *harness.Server, m *harness.Mount) (*wire.Rule, <-chan error) {
	t.Helper()
	hang := s.Sandbox.Faults.Add(wire.Fault{Op: "CompleteMultipartUpload", Kind: wire.Hang})
	closed := async(func() error { return os.WriteFile(m.Path("slow"), harness.Random(1, 20<<20), 0o644) })
	awaitOp(t, s, "CompleteMultipartUpload", 1)
	return hang, closed
}

// awaitLog waits until the mount's log contains text.
func awaitLog(t *testing.T, m *harness.Mount, text string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !strings.Contains(m.Log(), text) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the log never says %q:\n%s", text, m.Log())
		}
	}
}

func deletedMeansDeleted(t *testing.T) {
	unlink := func(t *testing.T, s *harness.Server) {
		for _, c := range suite.Cases() {
			if c.Name == "unlink of an open file" {
				c.Run(t, s)
			}
		}
	}
	eachVersioning(t, unlink)
	t.Run("after a crash", func(t *testing.T) {
		s := sandboxed(t)
		m := s.Mount(t)
		harness.Write(t, m.Path("f"), harness.Random(1, 20<<20))
		f, err := os.Open(m.Path("f"))
		harness.Must(t, err)
		harness.Must(t, os.Remove(m.Path("f")))
		m.Kill()
		f.Close()
		m = s.Mount(t)
		m.Unmount()
		if keys := s.Keys(t); len(keys) != 0 {
			t.Errorf("left after the next mount: %q", keys)
		}
	})
}

func nothingLeftBehind(t *testing.T) {
	s := sandboxed(t)
	ctx := context.Background()
	theirs, err := s.S3.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &s.Bucket, Key: aws.String("theirs"), ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &s.KeyPart,
	})
	harness.Must(t, err)
	m := s.Mount(t)
	f, err := os.Create(m.Path("ours"))
	harness.Must(t, err)
	_, err = f.Write(harness.Random(1, 40<<20))
	harness.Must(t, err)
	awaitOp(t, s, "UploadPart", 1)
	m.Kill()
	f.Close()
	if n := uploads(t, s); n != 2 {
		t.Errorf("%d uploads after the crash, want ours and theirs", n)
	}
	m = s.Mount(t)
	if n := uploads(t, s); n != 1 {
		t.Errorf("%d uploads after the next mount, want theirs alone", n)
	}
	_, err = s.S3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.Bucket, Key: theirs.Key, UploadId: theirs.UploadId})
	harness.Must(t, err)

	s.Sandbox.Faults.Add(wire.Fault{Op: "UploadPart", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
	harness.WantErrno(t, "write", os.WriteFile(m.Path("failed"), harness.Random(2, 40<<20), 0o644), syscall.EACCES)
	m.Unmount()
	if keys := s.Keys(t); len(keys) != 0 {
		t.Errorf("objects left behind: %q", keys)
	}
}

// uploads counts the unfinished uploads of the bucket.
func uploads(t testing.TB, s *harness.Server) int {
	t.Helper()
	out, err := s.S3.ListMultipartUploads(context.Background(), &s3.ListMultipartUploadsInput{Bucket: &s.Bucket})
	harness.Must(t, err)
	return len(out.Uploads)
}

func nothingSecretAtRest(t *testing.T) {
	s := sandboxed(t)
	spool := t.TempDir()
	m := s.Mount(t, "--memory", "64MiB", "--spool-dir", spool)
	marker := bytes.Repeat([]byte("attack at dawn! "), 64<<10)
	hang := s.Sandbox.Faults.Add(wire.Fault{Op: "PutObject", Kind: wire.Hang})
	var g errgroup.Group
	for i := range 12 { // more than memory takes
		g.Go(func() error { return os.WriteFile(m.Path(fmt.Sprint(i)), bytes.Repeat(marker, 12), 0o644) })
	}
	awaitOp(t, s, "PutObject", 1)
	look := func(path string) {
		body, err := os.ReadFile(path)
		if err == nil && bytes.Contains(body, marker[:32]) {
			t.Errorf("%s holds plaintext", path)
		}
	}
	spooled := false
	fds := fmt.Sprintf("/proc/%d/fd", m.PID())
	entries, err := os.ReadDir(fds)
	harness.Must(t, err)
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(fds, e.Name())); err == nil && strings.HasPrefix(target, spool) {
			spooled = true
			look(filepath.Join(fds, e.Name()))
		}
	}
	if !spooled {
		t.Error("the mount has no open spool file")
	}
	hang.Release()
	harness.Must(t, g.Wait())
	harness.Must(t, filepath.WalkDir(m.State, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			look(path)
		}
		return err
	}))
	if strings.Contains(m.Log(), "attack at dawn") || strings.Contains(m.Log(), "kmsfs-secret") {
		t.Error("the log holds plaintext or a secret")
	}
	if left, err := os.ReadDir(spool); err != nil || len(left) != 0 {
		t.Errorf("the spool directory shows %v, %v", left, err)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", m.PID()))
	harness.Must(t, err)
	for line := range strings.Lines(string(limits)) {
		if strings.HasPrefix(line, "Max core file size") && !strings.Contains(line, " 0 ") {
			t.Errorf("core dumps are possible: %s", line)
		}
	}
}

func memoryIsBounded(t *testing.T) {
	const memory = 96 << 20
	s := sandboxed(t)
	s.Plain = true // the race detector's own memory is not what is measured
	m := s.Mount(t, "--memory", "96MiB")
	var g errgroup.Group
	for i := range 8 {
		g.Go(func() error {
			f, err := os.Create(m.Path(fmt.Sprint(i)))
			if err != nil {
				return err
			}
			piece := harness.Random(uint64(i), 1<<20)
			for range 64 {
				if _, err := f.Write(piece); err != nil {
					return err
				}
			}
			return f.Close()
		})
	}
	harness.Must(t, g.Wait())
	if rss := m.PeakRSS(); rss > memory+64<<20 {
		t.Errorf("peak RSS %d MiB while writing with --memory 96MiB, want at most 160", rss>>20)
	}
	m.Unmount()
	m = s.Mount(t, "--memory", "96MiB")
	for i := range 8 {
		g.Go(func() error { _, err := os.ReadFile(m.Path(fmt.Sprint(i))); return err })
	}
	harness.Must(t, g.Wait())
	if rss := m.PeakRSS(); rss > memory+64<<20 {
		t.Errorf("peak RSS %d MiB while reading with --memory 96MiB, want at most 160", rss>>20)
	}
}
