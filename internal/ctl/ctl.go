package ctl

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Operations that a mount understands.
const (
	OpStatus    = "status"     // answers with Event.Status
	OpDrain     = "drain"      // waits until everything written is in S3
	OpUnmount   = "unmount"    // drains, unmounts, ends the process
	OpInspect   = "inspect"    // answers with the object under Request.Key
	OpStats     = "stats"      // answers with the mount's counters
	OpFlushKeys = "flush-keys" // forgets all data keys: the next use of each asks KMS
	OpLogLevel  = "log-level"  // logs from Request.Level on
)

// Request is what a client asks of a mount.
type Request struct {
	Op     string `json:"op"`
	Force  bool   `json:"force,omitempty"`  // unmount: even if something cannot be saved
	Key    string `json:"key,omitempty"`    // inspect: path below the mount point
	Verify string `json:"verify,omitempty"` // inspect: how far to prove the object
	Level  string `json:"level,omitempty"`  // log-level: debug, info, warn or error
}

// Event is one line of the answer.
type Event struct {
	Waiting []string        `json:"waiting,omitempty"` // what is waited for, one line each
	Done    bool            `json:"done,omitempty"`    // the last event
	Error   string          `json:"error,omitempty"`   // why the request came to nothing
	Failed  []string        `json:"failed,omitempty"`  // what could not be saved, one line each
	Lost    bool            `json:"lost,omitempty"`    // unmounted by force although nobody was told of a failure before
	Kept    int             `json:"kept,omitempty"`    // files that could not be saved and are kept elsewhere
	Status  *Status         `json:"status,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
}

// Status describes a mount.
type Status struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
	Source  string `json:"source"` // s3://BUCKET/PREFIX
	Dir     string `json:"dir"`
	Key     string `json:"kms_key,omitempty"` // of S3's encryption
	Mode    string `json:"sse"`

	Envelope []string `json:"envelope_keys,omitempty"` // KMS keys that content is sealed under
}

// Handler carries out one request. It may call progress any number of times
// and returns the last event. ctx ends when the client goes away.
type Handler func(ctx context.Context, r Request, progress func(waiting []string)) Event

// ErrNotRunning means that no mount process answers for the mount point.
var ErrNotRunning = errors.New("no kmsfs process answers for this mount point")

// handshake bounds the time that one line may take to arrive or to be taken:
// both ends are processes of one machine that do nothing else meanwhile.
const handshake = 10 * time.Second

// maxRequest bounds a request, in bytes: a key has at most 1,024.
const maxRequest = 64 << 10

// Server answers the requests for one mount.
type Server struct {
	listener net.Listener
	handle   Handler
	cancel   context.CancelFunc
	requests sync.WaitGroup // not answered yet
	wg       sync.WaitGroup // all goroutines

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

// Serve answers requests for the mount at dir until Close.
func Serve(dir string, h Handler) (*Server, error) {
	l, err := listen(dir)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{listener: l, handle: h, cancel: cancel, conns: map[net.Conn]struct{}{}}
	s.wg.Go(func() { s.accept(ctx) })
	return s, nil
}

// Close removes the socket, tells the handlers to end, lets them answer, and
// then ends all connections: clients that wait for the end of the process see
// it now.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.listener.Close() // removes the socket too
	s.requests.Wait()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// accept starts a goroutine per connection until the listener closes.
func (s *Server) accept(ctx context.Context) {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			conn.Close()
		} else {
			s.conns[conn] = struct{}{}
			s.requests.Add(1)
			s.wg.Go(func() { s.serve(ctx, conn) })
		}
		s.mu.Unlock()
	}
}

// serve answers the one request of a connection and keeps it open until the
// client or Close ends it.
func (s *Server) serve(ctx context.Context, conn net.Conn) {
	defer func() {
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		conn.Close()
	}()
	r, err := readRequest(ctx, conn)
	if err != nil {
		s.requests.Done()
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gone := make(chan struct{})
	s.wg.Go(func() { // the client sends nothing more: a read ends when it goes
		defer close(gone)
		io.Copy(io.Discard, conn)
		cancel()
	})
	send := func(e Event) {
		conn.SetWriteDeadline(time.Now().Add(handshake))
		if json.NewEncoder(conn).Encode(e) != nil {
			cancel()
		}
	}
	last := s.handle(ctx, r, func(waiting []string) { send(Event{Waiting: waiting}) })
	last.Done = true
	send(last)
	s.requests.Done()
	<-gone
}

// readRequest reads the one line that a client sends; it gives up when ctx ends.
func readRequest(ctx context.Context, conn net.Conn) (Request, error) {
	conn.SetReadDeadline(time.Now().Add(handshake))
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })
	line, err := bufio.NewReader(io.LimitReader(conn, maxRequest)).ReadBytes('\n')
	stop()
	if err != nil {
		return Request{}, err
	}
	conn.SetReadDeadline(time.Time{})
	var r Request
	err = json.Unmarshal(line, &r)
	return r, err
}

// listen opens the socket for dir, and replaces one that a dead process left.
func listen(dir string) (net.Listener, error) {
	path := Path(dir)
	if err := privateDir(Dir()); err != nil {
		return nil, err
	}
	return listenAt(path)
}

// Call sends r to the mount at dir and returns its last event; progress is
// called with what the mount waits for. The error is [ErrNotRunning] where
// nobody answers; an Event with Error set is returned as it is. After
// [OpUnmount] without an error Call returns when the mount's process ends.
func Call(ctx context.Context, dir string, r Request, progress func(waiting []string)) (Event, error) {
	if err := checkPrivate(Dir()); err != nil {
		return Event{}, fmt.Errorf("%w (%w)", ErrNotRunning, err)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", Path(dir))
	if err != nil {
		return Event{}, fmt.Errorf("%w (%w)", ErrNotRunning, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return Event{}, fmt.Errorf("send the %s request: %w", r.Op, err)
	}
	for in := json.NewDecoder(conn); ; {
		var e Event
		if err := in.Decode(&e); err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return Event{}, fmt.Errorf("the mount's process ended before it answered the %s request: %w", r.Op, err)
		}
		if e.Done {
			if r.Op == OpUnmount && e.Error == "" {
				io.Copy(io.Discard, conn) // until the process closes it
			}
			return e, nil
		}
		if progress != nil {
			progress(e.Waiting)
		}
	}
}
