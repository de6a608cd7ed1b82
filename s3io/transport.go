package s3io

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
)

// stalled is what an attempt comes to that hangs; the next one may not.
type stalled struct{}

func (stalled) Error() string        { return "connection stalled" }
func (stalled) Timeout() bool        { return true }
func (stalled) RetryableError() bool { return true }

// transport sends the SDK's requests: it limits how many there are at a time,
// counts them, and cuts off an attempt that hangs so that another can be made.
type transport struct {
	base     aws.HTTPClient
	bulk     chan struct{} // slots of requests that move content
	small    chan struct{} // slots of the others, so that stat never waits for uploads
	short    time.Duration // how long a lookup may hang
	long     time.Duration // how long an upload may hang
	counters *counters
}

// A quarter of the connections is kept for requests that move no content.
func newTransport(base aws.HTTPClient, connections int, lookup, commit time.Duration, c *counters) *transport {
	small := max(1, connections/4)
	return &transport{
		base:     base,
		bulk:     make(chan struct{}, max(1, connections-small)),
		small:    make(chan struct{}, small),
		short:    lookup / 3,
		long:     commit / 5,
		counters: c,
	}
}

// class returns the slots that op takes one of, and how long an attempt of it
// may hang; 0 leaves that to the operation's deadline, as for requests that the
// server may rightly work on for minutes before it answers.
func (t *transport) class(op string) (slots chan struct{}, patience time.Duration) {
	switch op {
	case "PutObject", "UploadPart":
		return t.bulk, t.long
	case "GetObject":
		return t.bulk, t.short
	case "CopyObject", "UploadPartCopy", "CompleteMultipartUpload":
		return t.bulk, 0
	}
	return t.small, t.short
}

// Do sends one attempt.
func (t *transport) Do(req *http.Request) (*http.Response, error) {
	op := awsmiddleware.GetOperationName(req.Context())
	slots, patience := t.class(op)
	select {
	case slots <- struct{}{}:
	case <-req.Context().Done():
		return nil, context.Cause(req.Context())
	}
	t.counters.request(op)
	ctx, cancel := context.WithCancelCause(req.Context())
	a := &attempt{cancel: cancel, patience: patience, deadline: deadlineOf(ctx), slots: slots, counters: t.counters}
	a.timer = time.AfterFunc(time.Hour, func() { cancel(stalled{}) })
	a.arm()
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &outgoing{ReadCloser: req.Body, attempt: a}
	}
	resp, err := t.base.Do(req)
	a.timer.Stop()
	if err != nil {
		a.end()
		return nil, a.explain(ctx, err)
	}
	resp.Body = &incoming{ReadCloser: resp.Body, attempt: a, ctx: ctx}
	return resp, nil
}

// attempt is one request on its way. The slot is given back once.
type attempt struct {
	cancel   context.CancelCauseFunc
	timer    *time.Timer
	patience time.Duration
	deadline *deadline
	slots    chan struct{}
	counters *counters
	ended    bool
}

func (a *attempt) arm() {
	if a.patience > 0 {
		a.timer.Reset(a.patience)
	} else {
		a.timer.Stop()
	}
}

func (a *attempt) end() {
	if a.ended {
		return
	}
	a.ended = true
	a.timer.Stop()
	a.cancel(nil)
	<-a.slots
}

// explain replaces the cancellation that the timer caused by what it means.
func (a *attempt) explain(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), stalled{}) {
		return stalled{}
	}
	return err
}

// outgoing is the body of a request: what the connection takes is progress.
type outgoing struct {
	io.ReadCloser
	attempt *attempt
	n       int64
}

func (o *outgoing) Read(p []byte) (int, error) {
	n, err := o.ReadCloser.Read(p)
	if n > 0 {
		o.n += int64(n)
		o.attempt.counters.sent.Add(int64(n))
		o.attempt.arm()
		o.attempt.deadline.sent(o.n)
	}
	return n, err
}

// incoming is the body of an answer. Only the time inside Read counts as
// hanging: how long the reader lets it wait is the reader's affair.
type incoming struct {
	io.ReadCloser
	attempt *attempt
	ctx     context.Context // of the attempt; its cause tells a stall from other ends
}

func (i *incoming) Read(p []byte) (int, error) {
	i.attempt.arm()
	n, err := i.ReadCloser.Read(p)
	i.attempt.timer.Stop()
	i.attempt.counters.received.Add(int64(n))
	if err != nil && err != io.EOF {
		err = i.attempt.explain(i.ctx, err)
	}
	return n, err
}

func (i *incoming) Close() error {
	err := i.ReadCloser.Close()
	i.attempt.end()
	return err
}
