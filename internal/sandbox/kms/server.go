package kms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// Options configure a Server. Identities must be set.
type Options struct {
	Identities func(accessKey string) (wire.Identity, bool)
	Region     string // of calls that S3 makes for a caller without one; "" is us-east-1
	Account    string // that owns keys made by CreateKey without one; "" is 111122223333
	Dir        string // where keys survive; "" is memory
	RateLimit  int    // calls per second, in bursts of the same size, until ThrottlingException; 0 is no limit
	// GrantDelay is how long a new grant works with its token only; 0 is 5 minutes, the longest that AWS names, and a
	// negative one is no time.
	GrantDelay time.Duration
	Log        *wire.Log
	Faults     *wire.Faults
	Denials    *wire.Denials
	Taps       *wire.Taps
	Now        func() time.Time // nil: time.Now
}

// A Server is a KMS endpoint.
type Server struct {
	opts       Options
	operations map[string]operation
	endpoint   *wire.Endpoint
	limit      limiter

	mu    sync.Mutex
	state state
}

// New starts a server over what Dir holds.
func New(o Options) (*Server, error) {
	if o.Identities == nil {
		return nil, errors.New("kms sandbox: Options.Identities must be set")
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Account == "" {
		o.Account = "111122223333"
	}
	if o.GrantDelay == 0 {
		o.GrantDelay = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	st, err := load(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, state: st, limit: limiter{rate: o.RateLimit}}
	s.operations = s.allOperations()
	s.endpoint = &wire.Endpoint{
		Verifier: &wire.Verifier{Service: "kms", Identities: o.Identities, Now: o.Now},
		Classify: classify,
		Render:   wire.WriteJSON,
		Service:  http.HandlerFunc(s.serve),
		Log:      o.Log,
		Faults:   o.Faults,
		Taps:     o.Taps,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s, s.manageLocked(o.Account, o.Region)
}

// ServeHTTP serves one request of the JSON 1.1 protocol.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.endpoint.ServeHTTP(w, r) }

// classify reads the operation, and the key and encryption context for the log.
func classify(r *http.Request) wire.Call {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 64<<10)) // what is wrong with the body is found again when it is read
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body))
	var in struct {
		KeyId, TargetKeyId, DestinationKeyId string
		EncryptionContext                    map[string]string
	}
	_ = json.Unmarshal(body, &in)
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	return wire.Call{Op: op, Key: in.KeyId + in.TargetKeyId + in.DestinationKeyId, Context: in.EncryptionContext}
}

// serve answers a request whose signature was verified.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	out, e := s.answer(r)
	if e != nil {
		wire.WriteJSON(w, r, e)
		return
	}
	text := []byte{}
	if out != nil {
		var err error
		if text, err = json.Marshal(out); err != nil {
			wire.WriteJSON(w, r, internal(err))
			return
		}
	}
	w.Header().Set("Content-Type", wire.JSONType)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text) // the client has gone: nobody is left to tell
}

func (s *Server) answer(r *http.Request) (any, *wire.Error) {
	if !s.limit.take(s.opts.Now()) {
		return nil, throttled()
	}
	service, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	do := s.operations[op]
	if do == nil || service != "TrentService" || r.Method != http.MethodPost {
		return nil, wire.Errorf(400, "UnknownOperationException", "")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, wire.Errorf(400, "SerializationException", "read the request: %v", err)
	}
	var in struct {
		GrantTokens       []string
		EncryptionContext map[string]string
	}
	_ = json.Unmarshal(body, &in) // the operation says what is wrong with it
	if e := checkTokens(in.GrantTokens); e != nil {
		return nil, e
	}
	return do(call{op: op, who: wire.Caller(r.Context()), tokens: in.GrantTokens, context: in.EncryptionContext}, body)
}

// A call is who asks for what.
type call struct {
	op     string
	who    wire.Principal
	s3     bool // by S3 on behalf of who
	direct bool // by Go code, which needs no rights

	tokens  []string          // of grants
	context map[string]string // encryption context
}

// An operation answers a call; nil is an empty answer.
type operation func(c call, body []byte) (any, *wire.Error)

// handle makes an operation of a typed one.
func handle[In, Out any](f func(call, In) (*Out, *wire.Error)) operation {
	return func(c call, body []byte) (any, *wire.Error) {
		var in In
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, wire.Errorf(400, "SerializationException", "%v", err)
		}
		out, e := f(c, in)
		if out == nil || e != nil {
			return nil, e
		}
		return out, nil
	}
}

// none is the output of operations that answer nothing.
type none struct{}

func (s *Server) allOperations() map[string]operation {
	return map[string]operation{
		"CreateKey":                       handle(s.createKey),
		"DescribeKey":                     handle(s.describeKey),
		"ListKeys":                        handle(s.listKeys),
		"EnableKey":                       handle(s.enableKey),
		"DisableKey":                      handle(s.disableKey),
		"ScheduleKeyDeletion":             handle(s.scheduleKeyDeletion),
		"CancelKeyDeletion":               handle(s.cancelKeyDeletion),
		"GetKeyPolicy":                    handle(s.keyPolicy),
		"PutKeyPolicy":                    handle(s.putKeyPolicy),
		"EnableKeyRotation":               handle(s.enableKeyRotation),
		"DisableKeyRotation":              handle(s.disableKeyRotation),
		"GetKeyRotationStatus":            handle(s.keyRotationStatus),
		"RotateKeyOnDemand":               handle(s.rotateKeyOnDemand),
		"CreateGrant":                     handle(s.createGrant),
		"ListGrants":                      handle(s.listGrants),
		"RetireGrant":                     handle(s.retireGrant),
		"RevokeGrant":                     handle(s.revokeGrant),
		"ListAliases":                     handle(s.listAliases),
		"CreateAlias":                     handle(s.createAlias),
		"UpdateAlias":                     handle(s.updateAlias),
		"DeleteAlias":                     handle(s.deleteAlias),
		"Encrypt":                         handle(s.encrypt),
		"Decrypt":                         handle(s.decrypt),
		"GenerateDataKey":                 handle(s.generateDataKey),
		"GenerateDataKeyWithoutPlaintext": handle(s.generateDataKeyWithoutPlaintext),
		"ReEncrypt":                       handle(s.reEncrypt),
	}
}

// GenerateDataKey returns a 256-bit data key for S3 on behalf of the caller that ctx carries, the same as wrapped by
// the key that id, ARN or alias name, and that key's ARN. Errors are *wire.Error in the words of KMS.
func (s *Server) GenerateDataKey(ctx context.Context, key string, context map[string]string) (plain, wrapped []byte, arn string, err error) {
	err = s.fromS3(ctx, "GenerateDataKey", key, context, func(c call) *wire.Error {
		out, e := s.generateDataKey(c, dataKeyInput{KeyId: key, EncryptionContext: context, KeySpec: "AES_256"})
		if e == nil {
			plain, wrapped, arn = out.Plaintext, out.CiphertextBlob, out.KeyId
		}
		return e
	})
	if err != nil {
		return nil, nil, "", err
	}
	return plain, wrapped, arn, nil
}

// Decrypt opens what GenerateDataKey wrapped, for S3 on behalf of the caller that ctx carries.
func (s *Server) Decrypt(ctx context.Context, arn string, wrapped []byte, context map[string]string) (plain []byte, err error) {
	err = s.fromS3(ctx, "Decrypt", arn, context, func(c call) *wire.Error {
		out, e := s.decrypt(c, decryptInput{KeyId: arn, CiphertextBlob: wrapped, EncryptionContext: context})
		if e == nil {
			plain = out.Plaintext
		}
		return e
	})
	if err != nil {
		return nil, err
	}
	return plain, nil
}

// fromS3 logs a call that S3 makes and applies faults and the rate limit to it.
func (s *Server) fromS3(ctx context.Context, op, key string, context map[string]string, do func(call) *wire.Error) error {
	who := wire.Caller(ctx)
	if who.Region == "" {
		who.Region = s.opts.Region
	}
	finish := s.opts.Log.Begin(wire.Request{Time: s.opts.Now(), Service: "kms", Op: op, Key: key, Context: context, Internal: true})
	e := s.opts.Faults.Call(ctx, op, key, func() *wire.Error {
		if !s.limit.take(s.opts.Now()) {
			return throttled()
		}
		return do(call{op: op, who: who, s3: true, context: context})
	})
	if e != nil {
		finish(who.ARN, e.Status)
		return e
	}
	finish(who.ARN, http.StatusOK)
	return nil
}

func throttled() *wire.Error {
	return wire.Errorf(400, "ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
}

func internal(err error) *wire.Error {
	return wire.Errorf(500, "KMSInternalException", "%v", err)
}

// A limiter allows rate calls per second, in bursts of as many.
type limiter struct {
	rate int

	mu     sync.Mutex
	left   float64
	filled time.Time
}

// take reports whether a call is allowed now.
func (l *limiter) take(now time.Time) bool {
	if l.rate <= 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = min(float64(l.rate), l.left+now.Sub(l.filled).Seconds()*float64(l.rate))
	l.filled = now
	if l.left < 1 {
		return false
	}
	l.left--
	return true
}
