package crypto

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"golang.org/x/sync/singleflight"

	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/kms"
)

const (
	testBucket  = "arn:aws:s3:::bucket"
	otherBucket = "arn:aws:s3:::other"
	farRegion   = "eu-west-1"
)

// bench is a KMS with a key, and what Keyrings that ask it have around them.
type bench struct {
	*sandbox.Server
	t     *testing.T
	key   Key
	cache *mapCache

	mu       sync.Mutex
	time     time.Time
	warnings []string
	grants   [][]string // of every request
}

func newBench(t *testing.T) *bench {
	t.Helper()
	s, err := sandbox.Start(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	b := &bench{Server: s, t: t, cache: &mapCache{keys: map[[32]byte]*DataKey{}}, time: time.Unix(1_700_000_000, 0)}
	b.key = b.create(kms.KeyOptions{})
	return b
}

// create makes another KMS key.
func (b *bench) create(o kms.KeyOptions) Key {
	b.t.Helper()
	arn, err := b.KMS.CreateKey(o)
	if err != nil {
		b.t.Fatal(err)
	}
	return Key{ARN: arn}
}

// keyring returns a Keyring as of a mount of its own, with what edit changes.
func (b *bench) keyring(edit func(*KeyringOptions)) *Keyring {
	b.t.Helper()
	o := KeyringOptions{Keys: []Key{b.key}, Bucket: testBucket, Cache: b.cache, Warn: b.warn}
	if edit != nil {
		edit(&o)
	}
	k, err := NewKeyring(b.client, o)
	if err != nil {
		b.t.Fatal(err)
	}
	k.now = b.now
	b.t.Cleanup(k.Close)
	return k
}

// client asks the one endpoint for all regions, once.
func (b *bench) client(region string) KMS {
	return NewKMS(aws.Config{
		Region:      region,
		Credentials: credentials.NewStaticCredentialsProvider(sandbox.AccessKey, sandbox.SecretKey, ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
		HTTPClient:  b,
	}, b.KMSURL())
}

// Do sends a request, and keeps its grant tokens.
func (b *bench) Do(r *http.Request) (*http.Response, error) {
	var in struct{ GrantTokens []string }
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	b.mu.Lock()
	b.grants = append(b.grants, in.GrantTokens)
	b.mu.Unlock()
	return http.DefaultClient.Do(r)
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.time
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.time = b.time.Add(d)
}

func (b *bench) warn(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.warnings = append(b.warnings, text)
}

// warned returns the warnings so far.
func (b *bench) warned() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.warnings)
}

// calls checks how many requests KMS had.
func (b *bench) calls(generate, decrypt int) {
	b.t.Helper()
	if g, d := b.Log.Count(opGenerate), b.Log.Count(opDecrypt); g != generate || d != decrypt {
		b.t.Errorf("KMS had %d GenerateDataKey and %d Decrypt, want %d and %d", g, d, generate, decrypt)
	}
}

// seal begins a message that must begin.
func (b *bench) seal(k *Keyring, key string) *Header {
	b.t.Helper()
	s, err := k.Seal(b.t.Context(), key)
	if err != nil {
		b.t.Fatal(err)
	}
	return s.Header()
}

// refused checks that err is a KeyError of that reason.
func (b *bench) refused(err error, want Reason) {
	b.t.Helper()
	var e *KeyError
	if !errors.As(err, &e) || e.Reason != want {
		b.t.Errorf("error is %v, want reason %d", err, want)
	}
}

// open opens a message that must open.
func (b *bench) open(k *Keyring, h *Header, key string) {
	b.t.Helper()
	if _, err := k.Open(b.t.Context(), reparsed(b.t, h), key); err != nil {
		b.t.Error(err)
	}
}

// reparsed is h as a reader gets it.
func reparsed(t *testing.T, h *Header) *Header {
	t.Helper()
	h, err := ParseHeader(bytes.Clone(h.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// mapCache is the least that a KeyCache must do.
type mapCache struct {
	loads singleflight.Group

	mu   sync.Mutex
	keys map[[32]byte]*DataKey
}

func (c *mapCache) Load(ctx context.Context, id [32]byte, fetch func(context.Context) (*DataKey, error)) (*DataKey, error) {
	for {
		if key := c.get(id); key != nil {
			return key, nil
		}
		_, err, _ := c.loads.Do(string(id[:]), func() (any, error) {
			if key := c.get(id); key != nil {
				key.Release()
				return nil, nil
			}
			key, err := fetch(context.WithoutCancel(ctx))
			if err == nil {
				c.Store(id, key)
				key.Release()
			}
			return nil, err
		})
		if err != nil {
			return nil, err
		}
	}
}

func (c *mapCache) get(id [32]byte) *DataKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	if key := c.keys[id]; key != nil && key.Acquire() {
		return key
	}
	return nil
}

func (c *mapCache) Store(id [32]byte, key *DataKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key.Acquire()
	if old := c.keys[id]; old != nil {
		old.Release()
	}
	c.keys[id] = key
}

func (c *mapCache) Drop(group string) {
	c.remove(func(key *DataKey) bool { return key.Group() == group })
}

func (c *mapCache) Flush() { c.remove(func(*DataKey) bool { return true }) }

func (c *mapCache) remove(those func(*DataKey) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, key := range c.keys {
		if those(key) {
			delete(c.keys, id)
			key.Release()
		}
	}
}

func (c *mapCache) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.keys)
}
