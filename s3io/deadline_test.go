package s3io

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestDeadlineCountsFromProgress in virtual time: only bytes that no earlier
// attempt had sent are progress.
func TestDeadlineCountsFromProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ctx, d := withDeadline(t.Context(), t.Context(), time.Minute)
		defer d.stop()
		for _, sent := range []int64{10, 20} {
			<-time.After(40 * time.Second)
			d.sent(sent)
		}
		<-time.After(40 * time.Second)
		d.sent(20) // resent by a later attempt
		d.failed(errors.New("the last answer"))
		<-ctx.Done()
		if took := time.Since(begin); took != 140*time.Second {
			t.Errorf("it ended after %v", took)
		}
		if cause := context.Cause(ctx); !strings.Contains(cause.Error(), "the last answer") {
			t.Errorf("the cause is %q", cause)
		}
		err := classify(ctx, "put", "a", ctx.Err())
		if KindOf(err) != Timeout {
			t.Errorf("got %v", err)
		}
	})
}

// TestEnds tells a deadline from an interrupt and from Close.
func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own, closeOwn := context.WithCancel(t.Context())
		caller, interrupt := context.WithCancel(t.Context())
		for name, end := range map[string]func(){"interrupt": interrupt, "close": closeOwn} {
			from := caller
			if name == "close" {
				from = t.Context()
			}
			ctx, d := withDeadline(from, own, time.Hour)
			end()
			<-ctx.Done()
			if err := classify(ctx, "head", "a", ctx.Err()); KindOf(err) != Interrupted || !strings.Contains(err.Error(), `"a"`) {
				t.Errorf("%s: %v", name, err)
			}
			d.stop()
		}
	})
}

func TestBackoffIsBounded(t *testing.T) {
	for n := -1; n < 100; n++ {
		if d := backoff(n); d < 25*time.Millisecond || d > 5*time.Second {
			t.Errorf("wait %d is %v", n, d)
		}
	}
}
