package harness

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
)

// Must fails the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Random returns n bytes that no compressor shortens, the same for one seed.
func Random(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// Write writes a whole file and closes it.
func Write(t testing.TB, path string, b []byte) {
	t.Helper()
	Must(t, os.WriteFile(path, b, 0o644))
}

// Want reads a file and compares it with b.
func Want(t testing.TB, path string, b []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	Must(t, err)
	Equal(t, path, got, b)
}

// Equal compares contents without printing them.
func Equal(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	t.Fatalf("%s: %d bytes, want %d; first difference at %d", what, len(got), len(want), at)
}

// WantErrno fails unless err is the errno.
func WantErrno(t testing.TB, what string, err error, errno syscall.Errno) {
	t.Helper()
	if !errors.Is(err, errno) {
		t.Errorf("%s: %v, want %v", what, err, errno)
	}
}

// Names returns the sorted names in a directory.
func Names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	Must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
