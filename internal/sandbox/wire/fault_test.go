package wire

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHang(t *testing.T) {
	b := newBench(t, true)
	rule := b.faults.Add(Fault{Op: "OpPUT", Kind: Hang})
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() {
		_, _, err := b.do(ctx, t, "PUT", "/a", "body", nil)
		done <- err
	}()
	if err := b.log.Wait(testContext(t), "OpPUT", 1); err != nil {
		t.Fatal(err)
	}
	cancel() // the client goes: nothing is applied
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("hung request ended with %v", err)
	}
	<-b.ended
	go func() {
		_, _, err := b.do(testContext(t), t, "PUT", "/a", "body", nil)
		done <- err
	}()
	if err := b.log.Wait(testContext(t), "OpPUT", 2); err != nil {
		t.Fatal(err)
	}
	if b.applied.Load() != 0 {
		t.Error("a hanging request was applied")
	}
	rule.Release()
	if err := <-done; err != nil || b.applied.Load() != 1 {
		t.Errorf("released request: %v, %d applied", err, b.applied.Load())
	}
}

// A request hangs after it was applied: when the rule has struck, it has been.
func TestHangAfter(t *testing.T) {
	b := newBench(t, false)
	rule := b.faults.Add(Fault{Op: "OpPUT", Kind: HangAfter})
	done := make(chan error, 1)
	go func() {
		_, _, err := b.do(testContext(t), t, "PUT", "/a", "body", nil)
		done <- err
	}()
	<-rule.Struck()
	if b.applied.Load() != 1 {
		t.Error("not applied")
	}
	select {
	case err := <-done:
		t.Errorf("answered: %v", err)
	default:
	}
	rule.Release()
	if err := <-done; err == nil {
		t.Error("an answer came through")
	}
}

// What goes wrong with a request's body is nothing that the service applies.
func TestFaultsOfRequestBodies(t *testing.T) {
	for _, secure := range []bool{false, true} {
		b := newBench(t, secure)
		body := strings.Repeat("x", 100_000)
		b.faults.Add(Fault{Kind: ResetRequest, Cut: 1000, Times: 1})
		if resp, _, err := b.do(testContext(t), t, "PUT", "/k", body, nil); err == nil {
			t.Errorf("a request that was reset is answered %v", resp)
		}
		b.faults.Add(Fault{Kind: FlipRequest, Cut: 1000, Times: 1})
		if resp, text, err := b.do(testContext(t), t, "PUT", "/k", body, nil); err != nil || resp.StatusCode != 400 || !strings.Contains(text, "Mismatch") {
			t.Errorf("a flipped byte is answered %v %s, %v", resp, text, err)
		}
		if b.applied.Load() != 0 {
			t.Error("applied")
		}
	}
}

// A proxy applies faults and leaves the signature to whoever is behind it.
func TestEndpointOfAProxy(t *testing.T) {
	behind := newBench(t, false)
	e := &Endpoint{
		Verifier: &Verifier{Service: "s3"}, Render: WriteXML, Log: &behind.log, Faults: &Faults{},
		Classify: func(r *http.Request) Call { return Call{Op: "Op" + r.Method} },
		Service:  http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { behind.Config.Handler.ServeHTTP(w, r) }),
	}
	b := &bench{Server: httptest.NewServer(e)}
	t.Cleanup(b.Close)
	if resp, text, err := b.do(testContext(t), t, "PUT", "/k", "body", nil); err != nil || text != answerBody {
		t.Errorf("%v %s, %v", resp, text, err)
	}
	e.Faults.Add(Fault{Kind: Answer, Status: 503, Code: "SlowDown"})
	if resp, _, err := b.do(testContext(t), t, "PUT", "/k", "body", nil); err != nil || resp.StatusCode != 503 || behind.applied.Load() != 1 {
		t.Errorf("%v, %v", resp, err)
	}
}
