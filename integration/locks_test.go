package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// lockVariable tells a process of this test binary to be a locker of that kind.
const lockVariable = "KMSFS_TEST_LOCKER"

// lockers are the kinds of locks that Linux has: each takes, or gives back with
// F_UNLCK, the first ten bytes of a file, or all of it.
var lockers = map[string]func(fd, how int, wait bool) error{
	"flock": func(fd, how int, wait bool) error {
		op := map[int]int{unix.F_RDLCK: unix.LOCK_SH, unix.F_WRLCK: unix.LOCK_EX, unix.F_UNLCK: unix.LOCK_UN}[how]
		if !wait {
			op |= unix.LOCK_NB
		}
		return unix.Flock(fd, op)
	},
	"posix": record(unix.F_SETLK, unix.F_SETLKW),
	"ofd":   record(unix.F_OFD_SETLK, unix.F_OFD_SETLKW),
}

// record returns a locker by fcntl.
func record(try, wait int) func(fd, how int, waits bool) error {
	return func(fd, how int, waits bool) error {
		cmd := try
		if waits {
			cmd = wait
		}
		return unix.FcntlFlock(uintptr(fd), cmd, &unix.Flock_t{Type: int16(how), Len: 10})
	}
}

// TestLocker is the program of a locker: it carries out the words on its
// standard input, and says for each what came of it.
func TestLocker(t *testing.T) {
	take := lockers[os.Getenv(lockVariable)]
	if take == nil {
		return // not started by TestLocks
	}
	f, err := os.OpenFile(os.Getenv(lockVariable+"_FILE"), os.O_RDWR, 0)
	harness.Must(t, err)
	for words := bufio.NewScanner(os.Stdin); words.Scan(); {
		word, wait := strings.CutPrefix(words.Text(), "await ")
		how, ok := map[string]int{"shared": unix.F_RDLCK, "exclusive": unix.F_WRLCK, "unlock": unix.F_UNLCK}[word]
		err := errors.ErrUnsupported
		if ok {
			for err = syscall.EINTR; errors.Is(err, syscall.EINTR); { // Go signals itself
				err = take(int(f.Fd()), how, wait)
			}
		} else if word == "close" {
			err = f.Close()
		}
		fmt.Println("result:", err)
	}
}

// locker is a running TestLocker.
type locker struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.Writer
	said chan string
}

func startLocker(t *testing.T, kind, path string) *locker {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLocker$")
	cmd.Env = append(os.Environ(), lockVariable+"="+kind, lockVariable+"_FILE="+path)
	in, err := cmd.StdinPipe()
	harness.Must(t, err)
	out, err := cmd.StdoutPipe()
	harness.Must(t, err)
	harness.Must(t, cmd.Start())
	l := &locker{t: t, cmd: cmd, in: in, said: make(chan string, 100)}
	go func() {
		defer close(l.said)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if result, ok := strings.CutPrefix(lines.Text(), "result: "); ok {
				l.said <- result
			}
		}
	}()
	t.Cleanup(l.kill)
	return l
}

func (l *locker) kill() {
	_ = l.cmd.Process.Kill()
	_ = l.cmd.Wait()
}

func (l *locker) order(word string) {
	l.t.Helper()
	_, err := fmt.Fprintln(l.in, word)
	harness.Must(l.t, err)
}

// says waits for the result of the oldest order.
func (l *locker) says(want string) {
	l.t.Helper()
	select {
	case got := <-l.said:
		if got != want {
			l.t.Errorf("got %q, want %q", got, want)
		}
	case <-time.After(patience):
		l.t.Fatal("the lock is not granted")
	}
}

func (l *locker) gets(word string)    { l.t.Helper(); l.order(word); l.says("<nil>") }
func (l *locker) refused(word string) { l.t.Helper(); l.order(word); l.says(syscall.EAGAIN.Error()) }

// quiet fails the test if the locker has got what it waits for. A moment is
// enough: the next step shows that it waited.
func (l *locker) quiet() {
	l.t.Helper()
	select {
	case got := <-l.said:
		l.t.Errorf("did not wait: %q", got)
	case <-time.After(50 * time.Millisecond):
	}
}

// Locks are the kernel's: they work between the processes of a machine, on one
// mount, and no request tells another host of them.
func locksAreLocal(t *testing.T) {
	s := sandboxed(t)
	s.Plain = true
	m := s.Mount(t)
	other := s.OtherHost().Mount(t)
	for kind := range lockers {
		harness.Write(t, m.Path(kind), []byte("locked by several"))
		t.Run(kind, func(t *testing.T) {
			a, b := startLocker(t, kind, m.Path(kind)), startLocker(t, kind, m.Path(kind))
			a.gets("exclusive")
			b.refused("exclusive")
			b.refused("shared")
			b.order("await exclusive")
			b.quiet()
			a.gets("unlock")
			b.says("<nil>")
			a.refused("shared")
			b.gets("shared") // downgraded
			a.gets("shared")
			b.refused("exclusive")
			a.gets("unlock")
			b.gets("exclusive") // upgraded
			a.order("await shared")
			a.quiet()
			b.gets("close")
			a.says("<nil>")
			c := startLocker(t, kind, m.Path(kind))
			c.order("await exclusive")
			c.quiet()
			a.kill()
			c.says("<nil>")
			startLocker(t, kind, other.Path(kind)).gets("exclusive") // another host
		})
	}
	harness.Write(t, m.Path("f"), nil)
	if out, err := exec.Command("flock", "--nonblock", m.Path("f"), "flock", "--nonblock", m.Path("f"), "true").CombinedOutput(); err == nil {
		t.Errorf("flock(1) does not see its own lock: %s", out)
	}
	recordsAreApart(t, m.Path("flock"))
}

// recordsAreApart takes two records of one file through two descriptors.
func recordsAreApart(t *testing.T, path string) {
	var fds [2]*os.File
	for i := range fds {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		harness.Must(t, err)
		defer f.Close()
		fds[i] = f
	}
	take := func(i int, start int64) error {
		return unix.FcntlFlock(fds[i].Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: start, Len: 5})
	}
	harness.Must(t, take(0, 0))
	harness.Must(t, take(1, 5))
	harness.WantErrno(t, "the other's record", take(1, 0), syscall.EAGAIN)
}
