package sandbox

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
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

// Options configure a sandbox. The zero value keeps everything in memory and serves plain HTTP on two free ports.
type Options struct {
	Dir        string        // where buckets, keys and the CA survive; "" is memory
	Listen     string        // of S3; "" is 127.0.0.1:0
	KMSListen  string        // "" is the host of Listen, and its next port, or a free one if that of Listen is 0
	TLS        bool          // serve both over TLS
	RequireTLS bool          // as AWS does: refuse objects under KMS over plain HTTP
	Region     string        // "" is us-east-1
	ErrorLog   *slog.Logger  // what the HTTP servers complain of, such as failed handshakes; nil is silence
	RateLimit  int           // KMS calls per second; 0 is no limit
	Discard    bool          // S3 keeps no content of bodies above 1 MiB: sizes, checksums and metadata alone
	GrantDelay time.Duration // as in kms.Options
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
	Taps    *wire.Taps

	opts    Options
	dir     string   // of the CA
	urls    []string // S3, KMS
	addrs   [2]string
	tls     *tls.Config // nil: plain HTTP
	serving errgroup.Group
	ahead   atomic.Int64 // nanoseconds that the clock is ahead
	close   func() error // once

	mu         sync.Mutex
	servers    [2]*http.Server
	identities map[string]wire.Identity
	unused     map[net.Conn]bool // connections without a request yet
}

// Start starts a sandbox. It has accepted both addresses when it returns.
func Start(o Options) (_ *Server, err error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Region == "" {
		o.Region = Region
	}
	s := &Server{opts: o, dir: o.Dir, Log: &wire.Log{}, Faults: &wire.Faults{}, Denials: &wire.Denials{}, Taps: &wire.Taps{}, identities: map[string]wire.Identity{}, unused: map[net.Conn]bool{}}
	s.close = sync.OnceValue(s.shutdown)
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
		Identities: s.identity, Region: s.opts.Region, Account: Account, Dir: dirs["kms"], Now: s.now, RateLimit: s.opts.RateLimit, GrantDelay: s.opts.GrantDelay,
		Log: s.Log, Faults: s.Faults, Denials: s.Denials, Taps: s.Taps,
	})
	if err != nil {
		return err
	}
	s.S3, err = s3.New(s3.Options{
		KMS: s.KMS, Identities: s.identity, Region: s.opts.Region, Account: Account, Dir: dirs["s3"],
		RequireTLS: s.opts.RequireTLS, Now: s.now, Discard: s.opts.Discard, BucketKeyPeriod: s.opts.BucketKeyPeriod,
		Log: s.Log, Faults: s.Faults, Denials: s.Denials, Taps: s.Taps,
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

// SetClock puts the clocks of both services ahead of this machine's, or behind it.
func (s *Server) SetClock(ahead time.Duration) { s.ahead.Store(int64(ahead)) }

func (s *Server) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

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
