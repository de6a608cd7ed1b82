package s3io

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// vault opens a bucket in envelope mode alone.
func (s *stage) vault(edit func(*Options)) *Bucket {
	s.t.Helper()
	return s.mount(func(o *Options) {
		o.Policy, o.Envelope = Policy{}, &Envelope{KeyIDs: []string{sandbox.KeyAlias}}
		o.Memory = 32 << 20
		if edit != nil {
			edit(o)
		}
	})
}

// seal returns the whole object that b's keyring makes of plain for key. full
// makes a full final frame where the size allows it, as other writers do.
func (s *stage) seal(b *Bucket, key string, plain []byte, full bool) ([]byte, *crypto.Header) {
	s.t.Helper()
	sealer, err := b.keys.Seal(s.ctx, b.full(key))
	if err != nil {
		s.t.Fatal(err)
	}
	out := bytes.Clone(sealer.Header().Bytes())
	frames := int64(len(plain))/crypto.FrameSize + 1
	if full && len(plain) > 0 && len(plain)%crypto.FrameSize == 0 {
		frames--
	}
	run := sealer.Run(1, frames)
	for range frames - 1 {
		out = run.Seal(out, plain[:crypto.FrameSize])
		plain = plain[crypto.FrameSize:]
	}
	return run.SealFinal(out, plain), sealer.Header()
}

// inMeta is the user metadata that carries h.
func inMeta(h *crypto.Header) map[string]string {
	return map[string]string{metaHeader: base64.RawURLEncoding.EncodeToString(h.Compact())}
}

// plant stores an object past everything that is ours, and returns what a
// listing tells of it.
func (s *stage) plant(b *Bucket, key string, content []byte, meta map[string]string) Object {
	s.t.Helper()
	_, err := s.somebody().PutObject(s.ctx, &s3.PutObjectInput{
		Bucket: &b.opts.Bucket, Key: aws.String(b.full(key)), Body: bytes.NewReader(content), Metadata: meta,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.listed(b, key)
}

// plantSealed plants plain as b would have stored it.
func (s *stage) plantSealed(b *Bucket, key string, plain []byte) Object {
	s.t.Helper()
	sealed, h := s.seal(b, key, plain, false)
	return s.plant(b, key, sealed, inMeta(h))
}

// listed returns what a listing tells of key.
func (s *stage) listed(b *Bucket, key string) Object {
	s.t.Helper()
	page, err := b.List(s.ctx, ListQuery{Prefix: key, Max: 1})
	if err != nil || len(page.Objects) != 1 || page.Objects[0].Key != key {
		s.t.Fatalf("listing %q is %+v, %v", key, page, err)
	}
	return page.Objects[0]
}

// somebody is a client of S3 that knows nothing of kmsfs.
func (s *stage) somebody() *s3.Client {
	s.t.Helper()
	text, err := os.ReadFile(s.box.CAFile())
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return s3.New(s3.Options{
		Region: sandbox.Region, BaseEndpoint: aws.String(s.box.URL()), UsePathStyle: true,
		Credentials: awscredentials.NewStaticCredentialsProvider(sandbox.AccessKey, sandbox.SecretKey, ""),
		HTTPClient:  &http.Client{Transport: transport},
	})
}

// read reads n bytes of o at off.
func (s *stage) read(b *Bucket, o Object, off, n int64) ([]byte, error) {
	r := b.NewReader(o)
	defer r.Close()
	p := make([]byte, n)
	k, err := r.ReadAt(s.ctx, p, off)
	return p[:k], err
}

// asked returns what was sent to the sandbox since the log was reset, GETs
// with their ranges.
func (s *stage) asked() []string {
	var all []string
	for _, r := range s.box.Log.Requests() {
		if r.Internal {
			continue
		}
		op := r.Op
		if rng := r.Header.Get("Range"); rng != "" {
			op += " " + strings.TrimPrefix(rng, "bytes=")
		}
		all = append(all, op)
	}
	return all
}

// flip inverts a byte of the answer to a GET.
func (s *stage) flip(key string, at int64, times int) *wire.Rule {
	return s.fault(wire.Fault{Op: "GetObject", Key: key, Kind: wire.FlipByte, Cut: at, Times: times})
}

// soon bounds what is expected to give up.
func soon(o *Options) { o.LookupTimeout = 2 * time.Second }
