package s3

import (
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
	"github.com/rclone/gofakes3"
)

// Options configure a Server. KMS and Identities must be set.
type Options struct {
	KMS        KMS
	Identities func(accessKey string) (wire.Identity, bool)
	Region     string   // of the server and, by default, of its buckets; "" is us-east-1
	Account    string   // owner of everything; "" is 111122223333
	Domains    []string // BUCKET.DOMAIN reaches a bucket, besides the path; "" is localhost and S3's own names
	Dir        string   // storage that survives; "" is memory
	RequireTLS bool     // refuse KMS objects over plain http
	Discard    bool     // keep of large bodies no content; see discard
	Log        *wire.Log
	Faults     *wire.Faults
	Denials    *wire.Denials
	Taps       *wire.Taps
	Now        func() time.Time // nil: time.Now

	// BucketKeyPeriod is how long a bucket key serves before KMS is asked again; 0 is 5 minutes.
	BucketKeyPeriod time.Duration
	// Expect, if set, is what every creating request must carry; see Violations.
	Expect *Expectation
}

// A Server is an S3 endpoint.
type Server struct {
	opts     Options
	domains  []string
	store    *store
	keys     *keys
	endpoint http.Handler
	rest     http.Handler // gofakes3, for operations without a handler of our own
	meetings meetings

	pageSize atomic.Int64 // see LimitPages
	stale    sync.Map     // *bucket by name; see StaleListings

	mu         sync.Mutex
	expect     *Expectation
	violations []string
}

// BucketOptions are the settings of a new bucket. The zero value is a bucket as AWS creates it today.
type BucketOptions struct {
	Versioning string     // Unversioned, Enabled or Suspended
	Encryption Encryption // default of new objects
	Region     string     // "" is the server's
}

// New starts a server over its storage.
func New(o Options) (*Server, error) {
	if o.KMS == nil || o.Identities == nil {
		return nil, errors.New("s3 sandbox: Options.KMS and Options.Identities must be set")
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Account == "" {
		o.Account = "111122223333"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.BucketKeyPeriod == 0 {
		o.BucketKeyPeriod = 5 * time.Minute
	}
	if o.Domains == nil {
		o.Domains = []string{"localhost", "s3.amazonaws.com", "s3." + o.Region + ".amazonaws.com"}
	}
	store, err := newStore(o.Dir, o.Now)
	if err != nil {
		return nil, fmt.Errorf("s3 sandbox: %w", err)
	}
	master, err := masterKey(o.Dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("s3 sandbox: %w", err), store.close())
	}
	s := &Server{opts: o, domains: o.Domains, store: store, expect: o.Expect,
		keys: &keys{kms: o.KMS, denials: o.Denials, now: o.Now, period: o.BucketKeyPeriod, master: master}}
	s.keys.flush()
	s.rest = gofakes3.New(backend{s: s}, gofakes3.WithTimeSkewLimit(0), gofakes3.WithMetadataSizeLimit(0)).Server()
	s.endpoint = &wire.Endpoint{
		Verifier: &wire.Verifier{Service: "s3", Identities: o.Identities, Now: o.Now},
		Classify: s.classify,
		Render:   wire.WriteXML,
		Service:  http.HandlerFunc(s.serve),
		Log:      o.Log,
		Faults:   o.Faults,
		Taps:     o.Taps,
	}
	return s, nil
}

// masterKey returns the key that SSE-S3 derives data keys from: random, or the one kept in dir.
func masterKey(dir string) ([]byte, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: crypto/rand documents it
	if dir == "" {
		return key, nil
	}
	path := filepath.Join(dir, "sse-s3.key")
	kept, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return key, os.WriteFile(path, key, 0o600)
	case err == nil && len(kept) != len(key):
		return nil, fmt.Errorf("read %s: %d bytes are no key", path, len(kept))
	}
	return kept, err
}

// Close ends the use of the storage. Requests must have ended.
func (s *Server) Close() error { return s.store.close() }

// CreateBucket makes a bucket.
func (s *Server) CreateBucket(name string, o BucketOptions) error {
	if err := gofakes3.ValidateBucketName(name); err != nil {
		return err
	}
	if o.Region == "" {
		o.Region = s.opts.Region
	}
	if o.Encryption.Algorithm == "" {
		o.Encryption.Algorithm = sseS3
	}
	return s.store.create(settings{Name: name, Region: o.Region, Created: s.opts.Now(), Versioning: o.Versioning, Encryption: o.Encryption})
}

// HasBucket reports whether a bucket exists, such as after a restart.
func (s *Server) HasBucket(name string) bool {
	return s.store.view(name, func(*bucket) error { return nil }) == nil
}

// FlushBucketKeys makes the next use of every bucket key ask KMS.
func (s *Server) FlushBucketKeys() { s.keys.flush() }

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.endpoint.ServeHTTP(w, r) }

// serve answers a request whose signature was verified.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "AmazonS3")
	call := s.classify(r)
	q := &request{Request: r, Op: call.Op, Bucket: call.Bucket, Key: call.Key, query: r.URL.Query(), caller: wire.Caller(r.Context())}
	op, ok := operations[q.Op]
	if !ok {
		refuse(w, q, methodNotAllowed(q))
		return
	}
	if err := s.admit(w, q, op); err != nil {
		refuse(w, q, err)
		return
	}
	if op.handle == nil {
		s.forward(w, q)
		return
	}
	defer s.meetings.enter(q)()
	if err := op.handle(s, w, q); err != nil {
		refuse(w, q, err)
	}
}

// admit checks what is the same for all operations: the bucket, its region, and the caller's right.
func (s *Server) admit(w http.ResponseWriter, r *request, op handler) error {
	resource := bucketARN(r.Bucket)
	if r.Key != "" {
		resource = objectARN(r.Bucket, r.Key)
		if err := checkKey(r.Key); err != nil {
			return err
		}
	}
	if !op.creates {
		if err := refuseSSE(r.Header); err != nil {
			return err
		}
	}
	for _, name := range []string{"X-Amz-Expected-Bucket-Owner", "X-Amz-Source-Expected-Bucket-Owner"} {
		if owner := r.Header.Get(name); owner != "" && owner != s.opts.Account {
			return wire.Errorf(403, "AccessDenied", "Access Denied")
		}
	}
	if r.Bucket == "" || r.Op == "CreateBucket" {
		return s.allowed(r.caller.ARN, op.action, "arn:aws:s3:::*")
	}
	var region string
	if err := s.store.view(r.Bucket, func(b *bucket) error { region = b.Region; return nil }); err != nil {
		return err
	}
	if r.Key == "" {
		w.Header().Set("X-Amz-Bucket-Region", region)
	}
	if r.caller.Region != region && r.Op != "GetBucketLocation" {
		w.Header().Set("X-Amz-Bucket-Region", region)
		e := wire.Errorf(301, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.")
		return with(e, "Endpoint", "s3."+region+".amazonaws.com", "Bucket", r.Bucket, "Region", region)
	}
	action := op.action
	if op.versioned != "" && r.version() != "" {
		action = op.versioned
	}
	return s.allowed(r.caller.ARN, action, resource)
}

// allowed refuses what was denied to the principal.
func (s *Server) allowed(principal, action, resource string) error {
	if s.opts.Denials.Denied(action, resource, principal) {
		return accessDenied(principal, action, resource)
	}
	return nil
}

// absent is the answer for a key that is not there: one who may not list must not learn that.
func (s *Server) absent(r *request, bucket string, missing error) error {
	if s.opts.Denials.Denied("s3:ListBucket", bucketARN(bucket), r.caller.ARN) {
		return accessDenied(r.caller.ARN, "s3:ListBucket", bucketARN(bucket))
	}
	return missing
}

// refuse answers with an error, after reading what the client may still be sending: a client that cannot finish
// sending does not see the answer.
func refuse(w http.ResponseWriter, r *request, err error) {
	drain(r.Body)
	wire.WriteXML(w, r.Request, answer(err))
}

// forward has gofakes3 answer, which knows the path style only.
func (s *Server) forward(w http.ResponseWriter, r *request) {
	w.Header().Set("Content-Type", "application/xml") // gofakes3 sets it too late
	inner := r.Request.Clone(r.Context())
	inner.URL.Path = "/" + r.Bucket
	if r.Key != "" {
		inner.URL.Path += "/" + r.Key
	}
	s.rest.ServeHTTP(w, inner)
}

// writeXML answers with a document.
func writeXML(w http.ResponseWriter, document any) error {
	text, err := xml.Marshal(document)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/xml")
	_, _ = w.Write([]byte(xml.Header + string(text))) // the client has gone: nobody is left to tell
	return nil
}

// quoted is an ETag as it appears in answers.
func quoted(etag string) string { return `"` + strings.Trim(etag, `"`) + `"` }
