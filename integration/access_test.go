package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// somebody and others are users that have nothing to do with the mount.
const somebody, others = 65534, 54321

// openToAll returns a directory that every user can reach.
func openToAll(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for p := dir; strings.HasPrefix(p, os.TempDir()); p = filepath.Dir(p) {
		harness.Must(t, os.Chmod(p, 0o755))
	}
	return dir
}

// as runs a script as another user, and returns what it says.
func as(user uint32, script string) (string, error) {
	cmd := exec.Command("sh", "-c", "umask 022; cd /; "+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// wantAs compares what a script says to a user, and that it is not refused, with
// what it should.
func wantAs(t *testing.T, user uint32, script, want string) {
	t.Helper()
	if got, err := as(user, script); err != nil || got != want {
		t.Errorf("%s says %q to user %d, %v; want %q", script, got, user, err, want)
	}
}

func deniedAs(t *testing.T, user uint32, script string) {
	t.Helper()
	if got, err := as(user, script); err == nil || !strings.Contains(got, "denied") && !strings.Contains(got, "not permitted") {
		t.Errorf("%s says %q to user %d, %v; want it denied", script, got, user, err)
	}
}

func otherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root, to become other users")
	}
	s := sandboxed(t)
	s.Plain = true
	s.Put(t, "f", []byte("content"))
	s.Put(t, "d/f", []byte("content"))
	dir := openToAll(t)
	t.Run("alone", func(t *testing.T) {
		m := s.MountAt(t, dir)
		deniedAs(t, somebody, "stat "+m.Dir)
		deniedAs(t, somebody, "cat "+m.Path("f"))
		m.Unmount()
	})
	t.Run("with others", func(t *testing.T) {
		flags := []string{"--allow-other", "--uid", fmt.Sprint(somebody), "--gid", fmt.Sprint(others),
			"--file-mode", "0666", "--dir-mode", "0777", "--umask", "0027"}
		m := s.MountAt(t, dir, flags...)
		modes := "stat -c '%a %u %g' " + m.Dir + " " + m.Path("f") + " " + m.Path("d")
		wantAs(t, somebody, modes, "750 65534 54321\n640 65534 54321\n750 65534 54321")
		wantAs(t, others, "cat "+m.Path("f"), "content") // by its group
		deniedAs(t, others, "echo x > "+m.Path("f"))
		deniedAs(t, others, "touch "+m.Path("new"))
		deniedAs(t, 4711, "cat "+m.Path("d", "f"))
		deniedAs(t, others, "chmod 777 "+m.Path("f"))
		wantAs(t, somebody, "cd "+m.Dir+" && echo mine > made && mkdir dir && chmod 600 made && stat -c '%a %u %g' made dir", "600 65534 65534\n755 65534 65534")
		deniedAs(t, others, "cat "+m.Path("made"))
		m.Unmount()
		m = s.MountAt(t, dir, flags...)
		wantAs(t, somebody, "cat "+m.Path("made")+" && stat -c %u "+m.Path("made"), "mine\n65534")
		deniedAs(t, others, "cat "+m.Path("made"))
		harness.Must(t, os.WriteFile(m.Path("of-root"), []byte("x"), 0o600))
		deniedAs(t, somebody, "cat "+m.Path("of-root"))
		m.Unmount()
	})
	t.Run("root alone", func(t *testing.T) {
		m := s.MountAt(t, dir, "--allow-root", "--dir-mode", "0777")
		harness.Want(t, m.Path("f"), []byte("content"))
		deniedAs(t, somebody, "cat "+m.Path("f"))
		deniedAs(t, somebody, "ls "+m.Dir)
		m.Unmount()
	})
	t.Run("read-only", func(t *testing.T) {
		m := s.MountAt(t, dir, "--read-only")
		harness.Want(t, m.Path("f"), []byte("content"))
		for what, err := range map[string]error{
			"create": os.WriteFile(m.Path("x"), nil, 0o644), "truncate": os.Truncate(m.Path("f"), 1), "chmod": os.Chmod(m.Path("f"), 0o600),
			"remove": os.Remove(m.Path("f")), "rename": os.Rename(m.Path("f"), m.Path("g")), "mkdir": os.Mkdir(m.Path("x"), 0o755),
		} {
			harness.WantErrno(t, what, err, syscall.EROFS)
		}
		m.Unmount()
		for _, r := range s.Sandbox.Log.Requests() {
			if !r.Internal && r.Service == "s3" && r.Op != "HeadObject" && r.Op != "GetObject" && r.Op != "ListObjectsV2" {
				t.Errorf("sent %s", r.Op)
			}
		}
	})
}

// Without POSIX attributes a listing tells everything that is shown.
func uniformAttributes(t *testing.T) {
	for _, mode := range []harness.Mode{harness.SSE, harness.Envelope} {
		t.Run(string(mode), func(t *testing.T) {
			s := harness.Sandbox(t).In(t, mode)
			s.Plain = true
			for i := range 100 {
				s.Put(t, fmt.Sprint("f", i), []byte("content"), func(in *s3.PutObjectInput) { in.Metadata = map[string]string{"mode": "33152"} })
			}
			m := s.Mount(t, "--posix-attrs=off", "--file-mode=0604")
			s.Sandbox.Log.Reset()
			out, err := exec.Command("ls", "-l", m.Dir).CombinedOutput()
			if n := strings.Count(string(out), "-rw----r--"); err != nil || n != 100 {
				t.Errorf("ls -l shows %d files, %v:\n%s", n, err, out)
			}
			if n := strings.Count(string(out), " 7 "); n != 100 {
				t.Errorf("%d sizes are right:\n%s", n, out)
			}
			if got, _ := costs(t, s); got != "1 LIST" {
				t.Errorf("ls -l of 100 files sent %q, want 1 LIST", got)
			}
		})
	}
}
