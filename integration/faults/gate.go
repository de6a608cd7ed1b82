package faults

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// gateMode is what a gate does with connections.
type gateMode int

const (
	open        gateMode = iota
	down                 // new connections are refused, and those that there were are reset
	silent               // connections are accepted, and nothing is heard of them again
	intercepted          // somebody with a certificate of another authority answers
)

// gate is a network between a mount and its server.
type gate struct {
	server      string // address
	address     string // its own
	interceptor *httptest.Server
	heard       atomic.Int64 // requests that the interceptor could read

	mu       sync.Mutex
	mode     gateMode
	listener net.Listener
	conns    map[net.Conn]bool
	running  sync.WaitGroup
}

// behindGate returns the server as it is seen through a gate.
func behindGate(t testing.TB, s *harness.Server) (*harness.Server, *gate) {
	t.Helper()
	u, err := url.Parse(s.URL)
	harness.Must(t, err)
	g := &gate{server: u.Host, address: reserve(t), conns: map[net.Conn]bool{}}
	g.interceptor = httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { g.heard.Add(1) }))
	g.interceptor.Config.ErrorLog = log.New(io.Discard, "", 0)
	g.interceptor.StartTLS()
	harness.Must(t, g.listen())
	t.Cleanup(func() {
		g.turn(t, down)
		g.running.Wait()
		g.interceptor.Close()
		if n := g.heard.Load(); n != 0 {
			t.Errorf("somebody with another certificate heard %d requests", n)
		}
	})
	u.Host = g.address
	through := *s
	through.URL = u.String()
	return &through, g
}

// turn changes the mode. Connections that there are end.
func (g *gate) turn(t testing.TB, mode gateMode) {
	t.Helper()
	g.mu.Lock()
	was := g.mode
	g.mode = mode
	if mode == down && was != down {
		_ = g.listener.Close()
	}
	for c := range g.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
	g.mu.Unlock()
	if was == down && mode != down {
		harness.Must(t, g.listen())
	}
}

// reserve binds a port of loopback without listening there, so that nobody else
// gets it while the gate is down.
func reserve(t testing.TB) (address string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	harness.Must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	harness.Must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	harness.Must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, err := unix.Getsockname(fd)
	harness.Must(t, err)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*unix.SockaddrInet4).Port))
}

// listen accepts connections at the gate's address until it goes down.
func (g *gate) listen() error {
	shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}), err)
	}}
	l, err := shared.Listen(context.Background(), "tcp", g.address)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.listener = l
	g.mu.Unlock()
	g.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.running.Go(func() { g.serve(c) })
		}
	})
	return nil
}

// serve carries one connection as the mode wants it.
func (g *gate) serve(c net.Conn) {
	mode := g.keep(c)
	defer g.drop(c)
	to := g.server
	switch mode {
	case down:
		return
	case silent:
		_, _ = io.Copy(io.Discard, c)
		return
	case intercepted:
		to = g.interceptor.Listener.Addr().String()
	}
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	g.keep(server)
	defer g.drop(server)
	g.running.Go(func() {
		_, _ = io.Copy(server, c)
		_ = server.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(c, server)
}

// keep notes a connection that a change of the mode ends.
func (g *gate) keep(c net.Conn) gateMode {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[c] = true
	return g.mode
}

func (g *gate) drop(c net.Conn) {
	_ = c.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}
