package harness

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	s3sandbox "github.com/kmsfs/kmsfs/internal/sandbox/s3"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// Proxy stands between mounts and an S3 server, and has the sandbox's ways to
// go wrong. It verifies no signature: the server does.
type Proxy struct {
	Log    wire.Log
	Faults wire.Faults
	Taps   wire.Taps

	addr    string
	handler http.Handler

	mu     sync.Mutex
	server *http.Server // nil while it is stopped
}

// Behind returns the server as mounts see it that go through a proxy, over
// plain http: the same bucket, mode and state directory.
func (s *Server) Behind(t testing.TB) (*Server, *Proxy) {
	t.Helper()
	target, err := url.Parse(s.URL)
	Must(t, err)
	p := &Proxy{addr: "127.0.0.1:0"}
	p.handler = &wire.Endpoint{
		Verifier: &wire.Verifier{Service: "s3"}, Classify: s3sandbox.Classify, Render: wire.WriteXML,
		Log: &p.Log, Faults: &p.Faults, Taps: &p.Taps,
		Service: &httputil.ReverseProxy{
			Transport:     s.transport(t),
			FlushInterval: -1,
			ErrorLog:      log.New(io.Discard, "", 0),
			Rewrite: func(r *httputil.ProxyRequest) {
				r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
				r.Out.Host = r.In.Host // it is signed
			},
			// An error of the way is none of the server's: the connection ends.
			ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		},
	}
	p.Start(t)
	t.Cleanup(func() {
		p.Faults.Clear()
		p.Stop()
	})
	s.stateDir(t) // shared from now on
	through := *s
	through.URL, through.proxy = "http://"+p.addr, p
	return &through, p
}

// transport is that of a client which trusts the server.
func (s *Server) transport(t testing.TB) http.RoundTripper {
	t.Helper()
	if through := s.httpClient(t).Transport; through != nil {
		return through
	}
	return &http.Transport{MaxIdleConnsPerHost: 16}
}

// Start ends an outage, under the same address.
func (p *Proxy) Start(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", p.addr)
	Must(t, err)
	server := &http.Server{Handler: p.handler, ErrorLog: log.New(io.Discard, "", 0)}
	p.mu.Lock()
	p.addr, p.server = l.Addr().String(), server
	p.mu.Unlock()
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the proxy ended: %v", err)
		}
	}()
}

// Stop makes an outage: connections are torn, and new ones refused.
func (p *Proxy) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		_ = p.server.Close()
	}
	p.server = nil
}
