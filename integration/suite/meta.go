package suite

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/integration/harness"
)

func attributes(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	stamp := time.Unix(1_234_567_890, 123_000_000)
	f, err := os.OpenFile(m.Path("before"), os.O_CREATE|os.O_WRONLY, 0o600)
	harness.Must(t, err)
	_, err = f.Write(harness.Random(1, 9<<20))
	harness.Must(t, err)
	harness.Must(t, f.Chmod(0o751))
	harness.Must(t, f.Chown(1234, 5678))
	harness.Must(t, f.Close())
	harness.Must(t, os.Chtimes(m.Path("before"), stamp, stamp))

	harness.Write(t, m.Path("after"), []byte("content"))
	harness.Must(t, os.Chmod(m.Path("after"), 0o751))
	harness.Must(t, os.Chown(m.Path("after"), 1234, 5678))
	harness.Must(t, os.Chtimes(m.Path("after"), stamp, stamp))

	harness.Must(t, os.Mkdir(m.Path("dir"), 0o755))
	harness.Must(t, os.Chmod(m.Path("dir"), 0o751))
	harness.Must(t, os.Chown(m.Path("dir"), 1234, 5678))
	harness.Must(t, os.Chtimes(m.Path("dir"), stamp, stamp))

	check := func(when string) {
		for _, name := range []string{"before", "after", "dir"} {
			info, err := os.Stat(m.Path(name))
			harness.Must(t, err)
			st := info.Sys().(*syscall.Stat_t)
			if info.Mode().Perm() != 0o751 || st.Uid != 1234 || st.Gid != 5678 || info.ModTime().Unix() != stamp.Unix() {
				t.Errorf("%s: %s is %v %d:%d %v", when, name, info.Mode(), st.Uid, st.Gid, info.ModTime())
			}
		}
	}
	check("at once")
	m.Unmount()
	if meta := s.Head(t, "after").Metadata; meta["uid"] != "1234" || meta["gid"] != "5678" || meta["mode"] == "" || meta["mtime"] == "" {
		t.Errorf("metadata of the object: %v", meta)
	}
	m = s.Mount(t)
	check("after a remount")
	harness.Want(t, m.Path("before"), harness.Random(1, 9<<20))
	harness.Want(t, m.Path("after"), []byte("content"))
	s.MustBeEncrypted(t)
}

func extendedAttributes(t *testing.T, s *harness.Server) {
	m := s.Mount(t)
	const name = "user.origin"
	value := harness.Random(9, 40)
	set := func(path string) { harness.Must(t, syscall.Setxattr(m.Path(path), name, value, 0)) }
	want := func(when, path string) {
		t.Helper()
		buf := make([]byte, 100)
		n, err := syscall.Getxattr(m.Path(path), name, buf)
		if err != nil || !bytes.Equal(buf[:n], value) {
			t.Errorf("%s: %s of %s is %q, %v", when, name, path, buf[:max(n, 0)], err)
		}
	}
	f, err := os.Create(m.Path("first"))
	harness.Must(t, err)
	set("first")
	_, err = f.Write(harness.Random(1, 9<<20))
	harness.Must(t, err)
	harness.Must(t, f.Close())
	harness.Must(t, os.Mkdir(m.Path("dir"), 0o755))
	set("dir")
	harness.Write(t, m.Path("dir/later"), []byte("content"))
	set("dir/later")
	harness.Must(t, os.Rename(m.Path("dir/later"), m.Path("renamed")))
	harness.Write(t, m.Path("first"), []byte("replaced"))
	tool(t, nil, "cp", "-a", m.Path("renamed"), m.Path("copy"))
	paths := []string{"first", "dir", "renamed", "copy"}
	for _, path := range paths {
		want("at once", path)
	}
	m.Unmount()
	m = s.Mount(t)
	for _, path := range paths {
		want("after a remount", path)
	}
	s.MustBeEncrypted(t)
}

func otherClients(t *testing.T, s *harness.Server) {
	body := harness.Random(5, 6<<20)
	s.Put(t, "theirs", body, func(in *s3.PutObjectInput) {
		in.ContentType = aws.String("text/x-special")
		in.CacheControl = aws.String("max-age=7")
		in.Metadata = map[string]string{"owner": "somebody", "mode": "33188"}
	})
	m := s.Mount(t)
	harness.Want(t, m.Path("theirs"), body)
	harness.Must(t, os.Chmod(m.Path("theirs"), 0o600))
	harness.Must(t, os.Rename(m.Path("theirs"), m.Path("ours")))
	m.Unmount()
	head := s.Head(t, "ours")
	if aws.ToString(head.ContentType) != "text/x-special" || aws.ToString(head.CacheControl) != "max-age=7" || head.Metadata["owner"] != "somebody" {
		t.Errorf("rename stripped: type %q, cache %q, metadata %v", aws.ToString(head.ContentType), aws.ToString(head.CacheControl), head.Metadata)
	}
	s.MustBeEncrypted(t)
	m = s.Mount(t, "--attr-ttl", "0s")
	harness.Want(t, m.Path("ours"), body)
	s.Put(t, "ours", []byte("changed"))
	harness.Want(t, m.Path("ours"), []byte("changed"))
	s.Put(t, "new", []byte("new"))
	harness.Want(t, m.Path("new"), []byte("new"))
	s.Delete(t, "new")
	_, err := os.Stat(m.Path("new"))
	harness.WantErrno(t, "deleted by somebody else", err, syscall.ENOENT)
}

func copyArchive(t *testing.T, s *harness.Server) {
	src := sampleTree(t)
	m := s.Mount(t)
	tool(t, nil, "cp", "-a", src, m.Path("copy"))
	compare(t, tree(t, src), tree(t, m.Path("copy")))
	m.Unmount()
	m = s.Mount(t)
	compare(t, tree(t, src), tree(t, m.Path("copy")))
	compare(t, dirTimes(t, src), dirTimes(t, m.Path("copy")))
	s.MustBeEncrypted(t)
}

func tarExtract(t *testing.T, s *harness.Server) {
	src := sampleTree(t)
	m := s.Mount(t)
	tool(t, nil, "tar", "-C", filepath.Dir(src), "-cf", m.Path("a.tar"), filepath.Base(src))
	harness.Must(t, os.Mkdir(m.Path("out"), 0o755))
	tool(t, nil, "tar", "-C", m.Path("out"), "-xpf", m.Path("a.tar"))
	m.Unmount()
	m = s.Mount(t)
	compare(t, tree(t, src), tree(t, m.Path("out", filepath.Base(src))))
	compare(t, dirTimes(t, src), dirTimes(t, m.Path("out", filepath.Base(src))))
	s.MustBeEncrypted(t)
}

func rsyncTwice(t *testing.T, s *harness.Server) {
	src := sampleTree(t)
	m := s.Mount(t)
	tool(t, nil, "rsync", "-a", src+"/", m.Path("mirror")+"/")
	m.Unmount()
	m = s.Mount(t)
	compare(t, tree(t, src), tree(t, m.Path("mirror")))
	compare(t, dirTimes(t, src), dirTimes(t, m.Path("mirror")))
	out := tool(t, nil, "rsync", "-ai", src+"/", m.Path("mirror")+"/")
	if strings.TrimSpace(out) != "" {
		t.Errorf("the second rsync is not content:\n%s", out)
	}
	s.MustBeEncrypted(t)
}

func resticBackup(t *testing.T, s *harness.Server) {
	src := sampleTree(t)
	m := s.Mount(t)
	env := []string{"RESTIC_PASSWORD=test", "RESTIC_CACHE_DIR=" + t.TempDir(), "RESTIC_REPOSITORY=" + m.Path("repo")}
	tool(t, env, "restic", "init")
	tool(t, env, "restic", "backup", src)
	m.Unmount()
	s.MountAt(t, m.Dir)
	tool(t, env, "restic", "check", "--read-data")
	out := t.TempDir()
	tool(t, env, "restic", "restore", "latest", "--target", out)
	compare(t, tree(t, src), tree(t, filepath.Join(out, src)))
	tool(t, env, "restic", "forget", "--keep-last", "1", "--prune")
	s.MustBeEncrypted(t)
}

func borgBackup(t *testing.T, s *harness.Server) {
	src := sampleTree(t)
	m := s.Mount(t)
	base := t.TempDir()
	env := []string{"BORG_PASSPHRASE=test", "BORG_BASE_DIR=" + base, "BORG_REPO=" + m.Path("borg"), "BORG_RELOCATED_REPO_ACCESS_IS_OK=yes"}
	tool(t, env, "borg", "init", "--encryption", "repokey")
	tool(t, env, "borg", "create", "::one", src)
	m.Unmount()
	s.MountAt(t, m.Dir)
	tool(t, env, "borg", "check", "--verify-data")
	tool(t, env, "borg", "create", "::two", src)
	s.MustBeEncrypted(t)
}
