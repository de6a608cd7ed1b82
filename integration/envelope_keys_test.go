package integration

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// A key that is disabled bites when the data keys in memory have aged, and at
// once after flush-keys. What is open stays readable.
func keyDisabled(t *testing.T) {
	const ttl = 4 * time.Second
	s := harness.Sandbox(t).In(t, harness.Envelope)
	aging, patient := s.Mount(t, "--key-cache-ttl", ttl.String()), s.OtherHost().Mount(t)
	content := harness.Random(1, 300_000)
	harness.Write(t, aging.Path("f"), content)
	harness.Want(t, patient.Path("f"), content)
	open, err := os.Open(aging.Path("f"))
	harness.Must(t, err)
	defer open.Close()

	harness.Must(t, s.Sandbox.KMS.Disable(s.EnvelopeKey))
	disabled := time.Now()
	harness.Want(t, patient.Path("f"), content)
	flush(t, s, patient)
	_, err = os.ReadFile(patient.Path("f"))
	harness.WantErrno(t, "open after flush-keys", err, syscall.EKEYREVOKED)

	err = eventually(t, "the key bites", func() error { // also those that the opens themselves keep in use
		f, err := os.Open(aging.Path("f"))
		if err == nil {
			return f.Close()
		}
		return err
	})
	harness.WantErrno(t, "open after the TTL", err, syscall.EKEYREVOKED)
	if took := time.Since(disabled); took > ttl+2*time.Second {
		t.Errorf("the key bites after %v, with a TTL of %v", took, ttl)
	}
	got := make([]byte, 100)
	_, err = open.ReadAt(got, 200_000)
	harness.Must(t, err)
	harness.Equal(t, "through a descriptor from before", got, content[200_000:200_100])
	_, err = os.Stat(patient.Path("f"))
	harness.Must(t, err)

	harness.Must(t, s.Sandbox.KMS.Enable(s.EnvelopeKey))
	flush(t, s, patient)
	harness.Want(t, patient.Path("f"), content)
	if !strings.Contains(patient.Log(), "disabled") {
		t.Errorf("the log does not say that the key is disabled:\n%s", patient.Log())
	}
}

// flush runs kmsfs ctl DIR flush-keys.
func flush(t *testing.T, s *harness.Server, m *harness.Mount) {
	t.Helper()
	if out, err := s.Run(t, "ctl", m.Dir, "flush-keys"); err != nil {
		t.Fatalf("kmsfs ctl flush-keys: %v\n%s", err, out)
	}
}

// eventually repeats f until it fails, and returns that error.
func eventually(t *testing.T, what string, f func() error) error {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		if err := f(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// What KMS answers becomes the errno of the table, through a mount that keeps no
// keys.
func errorsOfKMS(t *testing.T) {
	s := harness.Sandbox(t).In(t, harness.Envelope)
	m := s.Mount(t, "--key-cache=off")
	harness.Write(t, m.Path("f"), []byte("content"))
	read := func() error { _, err := os.ReadFile(m.Path("f")); return err }
	harness.Must(t, read())
	for code, want := range map[string]syscall.Errno{
		"AccessDeniedException": syscall.EACCES, "DisabledException": syscall.EKEYREVOKED, "KMSInvalidStateException": syscall.EKEYREVOKED,
		"NotFoundException": syscall.ENOKEY, "IncorrectKeyException": syscall.EKEYREJECTED, "InvalidCiphertextException": syscall.EBADMSG,
	} {
		rule := s.Sandbox.Faults.Add(wire.Fault{Op: "Decrypt", Kind: wire.Answer, Status: 400, Code: code})
		harness.WantErrno(t, code, read(), want)
		if _, err := os.Stat(m.Path("f")); err != nil {
			t.Errorf("%s: stat: %v", code, err)
		}
		rule.Remove()
		flush(t, s, m) // a denial is remembered for a moment
		harness.Must(t, read())
	}
	for _, fault := range []wire.Fault{ // that pass: the client tries again
		{Kind: wire.Answer, Status: 400, Code: "ThrottlingException"}, {Kind: wire.Answer, Status: 500, Code: "KMSInternalException"},
		{Kind: wire.ResetBefore}, {Kind: wire.ResetAfter},
	} {
		fault.Op, fault.Times = "Decrypt", 1
		rule := s.Sandbox.Faults.Add(fault)
		harness.Must(t, read())
		if rule.Hits() != 1 {
			t.Errorf("%+v was not met", fault)
		}
		rule.Remove()
	}
}

// While KMS cannot be reached work goes on under the data keys at hand, for the
// grace, and the log says so.
func outageOfKMS(t *testing.T) {
	const ttl = 2 * time.Second
	s := harness.Sandbox(t).In(t, harness.Envelope)
	m := s.Mount(t, "--key-cache-ttl", ttl.String(), "--kms-grace", "1m")
	hasty := s.OtherHost().Mount(t, "--key-cache-ttl", ttl.String(), "--kms-grace", "0s", "--timeout", "3s")
	for i := range 3 {
		harness.Write(t, m.Path(fmt.Sprint(i)), contentOf(i))
		harness.Want(t, hasty.Path(fmt.Sprint(i)), contentOf(i))
	}
	harness.Must(t, s.Sandbox.StopKMS())
	begun := time.Now()
	for i := 0; time.Since(begun) < 3*ttl; i++ { // long after the data keys have aged
		harness.Want(t, m.Path(fmt.Sprint(i%3)), contentOf(i%3))
		harness.Write(t, m.Path(fmt.Sprint("new-", i)), contentOf(i))
	}
	if !strings.Contains(m.Log(), "WARN") || !strings.Contains(m.Log(), "KMS") {
		t.Errorf("the log does not warn of the outage:\n%s", m.Log())
	}
	_, err := os.ReadFile(hasty.Path("0"))
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("without grace the read ends with %v, want EIO", err)
	}
	harness.Must(t, s.Sandbox.StartKMS())
	harness.Want(t, hasty.Path("0"), contentOf(0))
	harness.Write(t, hasty.Path("again"), []byte("x"))
	harness.Want(t, m.Path("new-0"), contentOf(0))
}
