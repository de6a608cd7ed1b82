package ctl

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// testMount returns a mount point of its own and lets its socket lie in a
// directory of the test.
func testMount(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "mnt")
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestCallStreamsProgressAndTheLastEvent(t *testing.T) {
	dir := testMount(t)
	var got Request
	s, err := Serve(dir, func(_ context.Context, r Request, progress func([]string)) Event {
		got = r
		progress([]string{"a: 2 parts"})
		progress(nil)
		return Event{Failed: []string{"b"}, Error: "not saved"}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := Request{Op: OpUnmount, Force: true}
	var seen [][]string
	e, err := Call(testContext(t), dir, want, func(w []string) { seen = append(seen, w) })
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{{"a: 2 parts"}, nil}, seen); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Event{Done: true, Failed: []string{"b"}, Error: "not saved"}, e); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Lstat(Path(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket after Close: %v", err)
	}
}

func TestTheHandlerIsToldWhenTheClientGoes(t *testing.T) {
	dir := testMount(t)
	ended := make(chan struct{})
	s, err := Serve(dir, func(ctx context.Context, _ Request, progress func([]string)) Event {
		progress([]string{"x"})
		<-ctx.Done()
		close(ended)
		return Event{}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(testContext(t))
	_, err = Call(ctx, dir, Request{Op: OpDrain}, func([]string) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Call returned %v, want context.Canceled", err)
	}
	select {
	case <-ended:
	case <-testContext(t).Done():
		t.Error("the handler was not told")
	}
}

func TestAnUnmountEndsWithTheProcess(t *testing.T) {
	dir := testMount(t)
	unmounting := make(chan struct{})
	s, err := Serve(dir, func(_ context.Context, r Request, _ func([]string)) Event {
		if r.Op == OpUnmount {
			close(unmounting)
		}
		return Event{}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Call(testContext(t), dir, Request{Op: OpDrain}, nil); err != nil {
		t.Errorf("drain: %v", err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := Call(testContext(t), dir, Request{Op: OpUnmount}, nil)
		answered <- err
	}()
	<-unmounting
	s.requests.Wait()
	select {
	case err := <-answered:
		t.Errorf("returned %v before the process ended", err)
	default:
	}
	s.Close()
	if err := <-answered; err != nil {
		t.Errorf("unmount: %v", err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	dir := testMount(t)
	if _, err := Call(testContext(t), dir, Request{Op: OpStatus}, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	deadSocket(t, dir)
	if _, err := Call(testContext(t), dir, Request{Op: OpStatus}, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("dead socket: %v", err)
	}
}

func TestAProcessThatDiesInTheMiddleIsAnError(t *testing.T) {
	dir := testMount(t)
	l, err := listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with the listener
		conn, err := l.Accept()
		if err != nil {
			return
		}
		bufio.NewReader(conn).ReadString('\n')
		conn.Write([]byte(`{"waiting":["x"]}` + "\n" + `{"do`))
		conn.Close()
	}()
	waits := 0
	_, err = Call(testContext(t), dir, Request{Op: OpDrain}, func([]string) { waits++ })
	if err == nil || waits != 1 {
		t.Errorf("error %v after %d progress lines, want an error after 1", err, waits)
	}
}

func TestServeReplacesOnlyADeadSocket(t *testing.T) {
	dir := testMount(t)
	deadSocket(t, dir)
	h := func(context.Context, Request, func([]string)) Event { return Event{} }
	s, err := Serve(dir, h)
	if err != nil {
		t.Fatalf("over a dead socket: %v", err)
	}
	defer s.Close()
	if second, err := Serve(dir, h); err == nil {
		second.Close()
		t.Error("a second server took over a living socket")
	}
}

// deadSocket leaves a socket on which nobody listens, as a killed mount does.
func deadSocket(t *testing.T, dir string) {
	t.Helper()
	if err := privateDir(Dir()); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: Path(dir), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	t.Cleanup(func() { os.Remove(Path(dir)) })
}

func TestResolveFollowsLinks(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range [][2]string{{"real/mnt", "one"}, {"one", "two"}, {"loop", "loop"}} {
		if err := os.Symlink(link[0], filepath.Join(base, link[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(base, "real/mnt"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(base, "real/mnt")
	for _, name := range []string{"real/mnt", "real/../real/mnt/", "one", "two"} {
		if got, err := Resolve(filepath.Join(base, name)); got != want || err != nil {
			t.Errorf("Resolve(%s) = %s, %v; want %s", name, got, err, want)
		}
	}
	if got, err := Resolve("/"); got != "/" || err != nil {
		t.Errorf("Resolve(/) = %s, %v", got, err)
	}
	if _, err := Resolve(filepath.Join(base, "loop")); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("loop: %v", err)
	}
	if _, err := Resolve(filepath.Join(base, "absent/mnt")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent parent: %v", err)
	}
}

func TestOnlyAPrivateDirectoryIsTrusted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := privateDir(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := privateDir(dir); err == nil {
		t.Error("a directory that others can enter was accepted")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := privateDir(file); err == nil {
		t.Error("a file was accepted")
	}
}

// Whoever else may write to the directory of temporary files can only keep a
// user from mounting there: nothing is opened or made through what they put.
func TestALinkIsNotFollowedToTheSocket(t *testing.T) {
	base := t.TempDir()
	target := filepath.Join(base, "target")
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(base, "run")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := privateDir(link); err == nil {
		t.Error("a link to a private directory was accepted")
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	old := syscall.Umask(0)
	err := privateDir(link)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory that was made: %v, %v", info, err)
	}
}
