package sandbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/internal/sandbox/kms"
	"github.com/kmsfs/kmsfs/internal/sandbox/s3"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// What a sandbox has from the start.
const (
	AccessKey  = "kmsfs"
	SecretKey  = "kmsfs-secret"
	Region     = "us-east-1"
	Account    = "111122223333"
	Bucket     = "demo"
	KeyAlias   = "alias/kmsfs-demo"
	OtherAlias = "alias/kmsfs-other"
	UserARN    = "arn:aws:iam::" + Account + ":user/kmsfs"
)

// grace is how long Close waits for requests in flight.
const grace = 5 * time.Second

// Options configure a sandbox. The zero value keeps everything in memory and serves plain HTTP on two free ports.
type Options struct {
	Dir        string       // where buckets, keys and the CA survive; "" is memory
	Listen     string       // of S3; "" is 127.0.0.1:0
	KMSListen  string       // "" is the host of Listen, and its next port, or a free one if that of Listen is 0
	TLS        bool         // serve both over TLS
	RequireTLS bool         // as AWS does: refuse objects under KMS over plain HTTP
	Region     string       // "" is us-east-1
	ErrorLog   *slog.Logger // what the HTTP servers complain of, such as failed handshakes; nil is silence
	RateLimit  int          // KMS calls per second; 0 is no limit
	// BucketKeyPeriod is how long S3 uses a bucket key before it asks KMS again; 0 is 5 minutes.
	BucketKeyPeriod time.Duration
}

// A Server is a running sandbox.
type Server struct {
	S3      *s3.Server
	KMS     *kms.Server
	Log     *wire.Log
	Faults  *wire.Faults
	Denials *wire.Denials

	opts    Options
	dir     string // of the CA
	servers []*http.Server
	urls    []string // S3, KMS
	cancel  context.CancelFunc
	serving errgroup.Group

	mu         sync.Mutex
	identities map[string]wire.Identity
}

// Start starts a sandbox. It has accepted both addresses when it returns.
func Start(o Options) (_ *Server, err error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Region == "" {
		o.Region = Region
	}
	s := &Server{opts: o, dir: o.Dir, Log: &wire.Log{}, Faults: &wire.Faults{}, Denials: &wire.Denials{}, identities: map[string]wire.Identity{}, cancel: func() {}}
	s.AddIdentity(wire.Identity{AccessKey: AccessKey, SecretKey: SecretKey, ARN: UserARN})
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start the sandbox: %w", err), s.Close())
		}
	}()
	if o.Dir != "" {
		err = os.MkdirAll(o.Dir, 0o700)
	} else if o.TLS {
		s.dir, err = os.MkdirTemp("", "kmsfs-sandbox-")
	}
	if err != nil {
		return nil, err
	}
	if err := s.services(); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	return s, nil
}

// services opens the two services and what is in them by convention.
func (s *Server) services() (err error) {
	dirs := map[string]string{}
	for _, name := range []string{"s3", "kms"} {
		if s.opts.Dir == "" {
			continue
		}
		dirs[name] = filepath.Join(s.opts.Dir, name)
		if err := os.MkdirAll(dirs[name], 0o700); err != nil {
			return err
		}
	}
	s.KMS, err = kms.New(kms.Options{
		Identities: s.identity, Region: s.opts.Region, Account: Account, Dir: dirs["kms"], RateLimit: s.opts.RateLimit,
		Log: s.Log, Faults: s.Faults, Denials: s.Denials,
	})
	if err != nil {
		return err
	}
	s.S3, err = s3.New(s3.Options{
		KMS: s.KMS, Identities: s.identity, Region: s.opts.Region, Account: Account, Dir: dirs["s3"],
		RequireTLS: s.opts.RequireTLS, BucketKeyPeriod: s.opts.BucketKeyPeriod,
		Log: s.Log, Faults: s.Faults, Denials: s.Denials,
	})
	if err != nil {
		return err
	}
	for _, alias := range []string{KeyAlias, OtherAlias} {
		if s.KMS.KeyARN(alias) == "" {
			if _, err := s.KMS.CreateKey(kms.KeyOptions{Alias: alias}); err != nil {
				return err
			}
		}
	}
	if s.S3.HasBucket(Bucket) {
		return nil
	}
	return s.S3.CreateBucket(Bucket, s3.BucketOptions{})
}

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
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for i, handler := range []http.Handler{s.S3, s.KMS} {
		l, err := net.Listen("tcp", []string{s.opts.Listen, second}[i])
		if err != nil {
			return err
		}
		s.urls = append(s.urls, s.url(l.Addr()))
		if config != nil {
			l = tls.NewListener(l, config)
		}
		s.serve(ctx, l, handler)
	}
	return nil
}

// serve serves one port until Close.
func (s *Server) serve(ctx context.Context, l net.Listener, handler http.Handler) {
	complaints := s.opts.ErrorLog
	if complaints == nil {
		complaints = slog.New(slog.DiscardHandler)
	}
	server := &http.Server{
		Handler:           handler,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(complaints.Handler(), slog.LevelWarn),
	}
	s.servers = append(s.servers, server)
	s.serving.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
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

// URL is the endpoint of S3, such as https://127.0.0.1:41234.
func (s *Server) URL() string { return s.urls[0] }

// KMSURL is the endpoint of KMS.
func (s *Server) KMSURL() string { return s.urls[1] }

// CAFile is the certificate that clients must trust; "" without TLS.
func (s *Server) CAFile() string {
	if !s.opts.TLS {
		return ""
	}
	return filepath.Join(s.dir, caName)
}

// Env returns the environment, as NAME=VALUE, that makes AWS's SDKs and tools talk to the sandbox.
func (s *Server) Env() []string {
	env := []string{
		"AWS_ACCESS_KEY_ID=" + AccessKey, "AWS_SECRET_ACCESS_KEY=" + SecretKey,
		"AWS_REGION=" + s.opts.Region, "AWS_DEFAULT_REGION=" + s.opts.Region,
		"AWS_ENDPOINT_URL_S3=" + s.URL(), "AWS_ENDPOINT_URL_KMS=" + s.KMSURL(),
		"AWS_EC2_METADATA_DISABLED=true",
	}
	if s.opts.TLS {
		env = append(env, "AWS_CA_BUNDLE="+s.CAFile())
	}
	return env
}

// AddIdentity lets another principal sign requests. Its ARN says to which account it belongs.
func (s *Server) AddIdentity(id wire.Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identities[id.AccessKey] = id
}

func (s *Server) identity(accessKey string) (wire.Identity, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.identities[accessKey]
	return id, ok
}

// Close stops the sandbox: requests in flight have some seconds to end, those that hang by a fault none. It may be
// called again.
func (s *Server) Close() error {
	s.Faults.Clear()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	var all []error
	for _, server := range s.servers {
		if err := server.Shutdown(ctx); err != nil {
			all = append(all, server.Close())
		}
	}
	s.servers = nil
	s.cancel()
	all = append(all, s.serving.Wait())
	if s.S3 != nil {
		all = append(all, s.S3.Close())
		s.S3 = nil
	}
	if s.opts.Dir == "" && s.dir != "" {
		all = append(all, os.RemoveAll(s.dir))
	}
	return errors.Join(all...)
}
