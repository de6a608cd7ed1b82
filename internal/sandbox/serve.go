package sandbox

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// grace is how long Close waits for requests in flight.
const grace = 5 * time.Second

// listen opens both ports and serves them.
func (s *Server) listen() error {
	host, port, err := net.SplitHostPort(s.opts.Listen)
	if err != nil {
		return err
	}
	second := s.opts.KMSListen
	if n, err := strconv.Atoi(port); second == "" && err == nil && n > 0 {
		second = net.JoinHostPort(host, strconv.Itoa(n+1))
	} else if second == "" {
		second = net.JoinHostPort(host, "0")
	}
	config, err := s.tlsConfig(host)
	if err != nil {
		return err
	}
	s.tls = config
	for i, handler := range []http.Handler{s.S3, s.KMS} {
		addr, err := s.serve([]string{s.opts.Listen, second}[i], i, handler)
		if err != nil {
			return err
		}
		s.addrs[i] = addr.String()
		s.urls = append(s.urls, s.url(addr))
	}
	return nil
}

// serve serves one address until Close, as the service of that index.
func (s *Server) serve(address string, service int, handler http.Handler) (net.Addr, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	addr := l.Addr()
	if s.tls != nil {
		l = tls.NewListener(l, s.tls)
	}
	complaints := s.opts.ErrorLog
	if complaints == nil {
		complaints = slog.New(slog.DiscardHandler)
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: time.Minute,
		ConnState:         s.track,
		ErrorLog:          slog.NewLogLogger(complaints.Handler(), slog.LevelWarn),
	}
	s.mu.Lock()
	s.servers[service] = server
	s.mu.Unlock()
	s.serving.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return addr, nil
}

// StopKMS makes an outage of KMS, until StartKMS: its connections are torn, and new ones refused. S3 goes on with the
// keys, as an outage between the client and KMS leaves it.
func (s *Server) StopKMS() error {
	s.mu.Lock()
	server := s.servers[1]
	s.mu.Unlock()
	return server.Close()
}

// StartKMS ends an outage, under the same address. It fails if something else listens there now.
func (s *Server) StartKMS() error {
	_, err := s.serve(s.addrs[1], 1, s.KMS)
	return err
}

// track knows the connections that have not brought a request. Clients dial some in advance, and Shutdown would wait
// five seconds for each.
func (s *Server) track(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew {
		s.unused[c] = true
	} else {
		delete(s.unused, c)
	}
}

// tlsConfig returns nil where TLS is off.
func (s *Server) tlsConfig(host string) (*tls.Config, error) {
	if !s.opts.TLS {
		return nil, nil
	}
	ca, err := openAuthority(s.dir)
	if err != nil {
		return nil, err
	}
	leaf, err := ca.issue(host)
	if err != nil {
		return nil, err
	}
	// Faults tear connections, which needs HTTP/1.1: no other protocol is offered.
	return &tls.Config{Certificates: []tls.Certificate{leaf}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}, nil
}

// url returns how a client on this machine reaches addr.
func (s *Server) url(addr net.Addr) string {
	scheme := "http"
	if s.opts.TLS {
		scheme = "https"
	}
	host, port, _ := net.SplitHostPort(addr.String()) // a listener's address always splits
	if net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// Close stops the sandbox: requests in flight have some seconds to end, and those that hang by a fault go on. It may be
// called again, and then returns what it returned first.
func (s *Server) Close() error { return s.close() }

func (s *Server) shutdown() error {
	s.Faults.Clear()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	s.mu.Lock()
	for c := range s.unused {
		_ = c.Close() // nobody speaks on it
	}
	servers := s.servers
	s.mu.Unlock()
	var all []error
	for _, server := range servers {
		if server == nil { // never started
			continue
		}
		if err := server.Shutdown(ctx); err != nil {
			all = append(all, server.Close())
		}
	}
	all = append(all, s.serving.Wait())
	if s.S3 != nil {
		all = append(all, s.S3.Close())
	}
	if s.opts.Dir == "" && s.dir != "" {
		all = append(all, os.RemoveAll(s.dir))
	}
	return errors.Join(all...)
}
