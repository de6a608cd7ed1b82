package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// scratch is where the binaries of one test process are; Main removes it.
var scratch = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "kmsfs-bin-") })

// raced and plain build the binary once a test process.
var (
	raced = sync.OnceValues(func() (string, error) { return compile("kmsfs-race", "-race") })
	plain = sync.OnceValues(func() (string, error) { return compile("kmsfs") })
)

// compile builds cmd/kmsfs under a name in the scratch directory.
func compile(name string, flags ...string) (string, error) {
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, name)
	cmd := exec.Command("go", append(append([]string{"build", "-o", bin}, flags...), "./cmd/kmsfs")...)
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build kmsfs: %w\n%s", err, out)
	}
	return bin, nil
}

// Binary returns the path of a kmsfs binary built from this tree, with the
// race detector if the test has it.
func Binary(t testing.TB) string {
	t.Helper()
	if Raced == 0 {
		return PlainBinary(t)
	}
	bin, err := raced()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// PlainBinary returns the path of a kmsfs binary without the race detector.
func PlainBinary(t testing.TB) string {
	t.Helper()
	bin, err := plain()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// Root returns the directory of the project's go.mod.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Main runs a package's tests with a directory of their own for temporary
// files, removes it, and fails the run if a mount was left behind there. Other
// packages' tests may run beside them. Use it as TestMain's body.
func Main(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kmsfs-test-")
	if err == nil {
		err = os.Setenv("TMPDIR", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "a directory for temporary files:", err)
		return 1
	}
	code := m.Run()
	for at := range Mounts() {
		if strings.HasPrefix(at, dir+"/") {
			fmt.Fprintf(os.Stderr, "mount left behind: %s\n", at)
			code = 1
		}
	}
	if code == 0 { // else a mount may be below
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, "temporary files remain:", err)
			code = 1
		}
	}
	return code
}
