package s3io

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// creation is one request that makes an object, and what is needed to know
// what became of it and to undo it.
type creation struct {
	op, key  string
	commit   string    // id of this very commit
	cond     Condition // as the caller demands it
	honoured bool      // the server checks cond; else HEAD first
	echo     EchoLevel // from which on the server's answer itself must prove the policy
	base     *Object   // what is replaced; nil: nothing, or nobody knows
	precious bool      // nothing else holds the content any more
	inPlace  bool      // the content was acknowledged before

	// send makes the request once. Conditions that the server does not honour
	// are not in cond.
	send func(ctx context.Context, commit string, cond Condition) (made, error)

	// second is what is tried once more when the answer proved wrong; nil
	// repeats the request. bad is what is there now, unless it was removed.
	second func(c creation, bad Object, removed bool) (creation, error)
}

// made is what is known of an object that a request created.
type made struct {
	etag, version string
	when          time.Time
	proof         proof
}

// newCommitID returns 128 random bits in hexadecimal.
func newCommitID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// fate is what is known about a request that returned an error.
type fate uint8

const (
	refused  fate = iota // not applied, and never will be
	conflict             // not applied because of its condition
	unsure               // nobody knows
)

func fateOf(err error) fate {
	var guard *guardError
	var lost *smithyhttp.RequestSendError
	var credentials *credentialsError
	switch s := status(err); {
	case errors.As(err, &guard) || errors.As(err, &credentials) || untrusted(err) || redirected(err) != nil:
		return refused
	case s == http.StatusPreconditionFailed || s == http.StatusConflict:
		return conflict
	case code(err) == "RequestTimeout" || code(err) == "RequestTimeTooSkewed":
		return unsure
	case s >= 300 && s < 500 && s != http.StatusRequestTimeout && s != http.StatusTooManyRequests:
		return refused
	case s != 0: // 5xx, or 200 with an error in its body
		return unsure
	case errors.As(err, &lost) || ended(err) || timedOut(err):
		return unsure
	case code(err) != "":
		return unsure
	}
	return refused // the SDK did not send it
}

// settle sends c until its outcome is known. After an answer was lost, and
// after a refusal that may be due to our own earlier attempt, HEAD decides by
// the commit id: a blind retry would invent conflicts.
func (b *Bucket) settle(ctx context.Context, c creation) (made, error) {
	cond, err := b.precheck(ctx, c)
	if err != nil {
		return made{}, err
	}
	lost := false // an earlier attempt may have been applied
	for n := 0; ; n++ {
		m, err := c.send(ctx, c.commit, cond)
		if err == nil {
			return m, nil
		}
		f := fateOf(err)
		lost = lost || f == unsure
		if lost || f == conflict { // or something on the way sent it twice
			if m, found := b.find(ctx, c); found {
				return m, nil
			}
		}
		if f == refused || f == conflict && !passing(c, err) {
			return made{}, b.refusal(ctx, c, err)
		}
		if over := pause(ctx, n); over != nil {
			return made{}, classify(ctx, c.op, c.key, over)
		}
	}
}

// passing reports whether a conflict is one of two requests that met, which
// says nothing about the object: 409. Complete cannot be sent again after it.
func passing(c creation, err error) bool {
	return status(err) == http.StatusConflict && c.op != opComplete
}

// refusal gives a conflict the kind that the caller's condition asks for.
func (b *Bucket) refusal(ctx context.Context, c creation, err error) error {
	var e *Error
	if err = classify(ctx, c.op, c.key, err); !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Kind == Stale && c.cond.IfAbsent && status(err) == http.StatusPreconditionFailed && !b.absent(ctx, c.key):
		e.Kind = Exists // else it was the source of a copy that changed
	case e.Kind == NotExist && c.cond.IfMatch != "" && code(err) != "NoSuchUpload" && b.absent(ctx, c.key):
		e.Kind = Stale // S3 says so of If-Match on a key that is gone, and of the source of a copy
	case e.Kind == Permission && e.Hint == "":
		e.Hint = "writing needs s3:PutObject, kms:GenerateDataKey and kms:Decrypt"
	}
	return e
}

// absent reports that there is nothing under key.
func (b *Bucket) absent(ctx context.Context, key string) bool {
	_, _, err := b.head(ctx, key, "")
	return KindOf(err) == NotExist
}

// find looks for the object of this very commit, on a context of its own: the
// operation's may be over just because the outcome is unknown.
func (b *Bucket) find(ctx context.Context, c creation) (made, bool) {
	ctx, deadline := b.reading(context.WithoutCancel(ctx))
	defer deadline.stop()
	o, commit, err := b.head(ctx, c.key, "")
	if err != nil || commit != c.commit {
		return made{}, false
	}
	return madeOf(o), true
}

func madeOf(o Object) made {
	return made{etag: o.ETag, version: o.VersionID, when: o.LastModified, proof: proof{Encryption: o.Encryption}}
}

// precheck asks by HEAD what the server does not check itself, and returns the
// condition that is left for the request.
func (b *Bucket) precheck(ctx context.Context, c creation) (Condition, error) {
	if c.honoured || c.cond == (Condition{}) {
		return c.cond, nil
	}
	now, _, err := b.head(ctx, c.key, "")
	absent := KindOf(err) == NotExist
	switch {
	case err != nil && !absent:
		return Condition{}, err
	case c.cond.IfAbsent && !absent:
		return Condition{}, &Error{Kind: Exists, Op: c.op, Key: c.key, Err: errors.New("it exists already")}
	case c.cond.IfMatch != "" && (absent || now.ETag != c.cond.IfMatch):
		return Condition{}, changed(c.op, c.key)
	}
	return Condition{}, nil
}

// try sends c and proves the result. fault says why the answer does not prove
// the policy.
func (b *Bucket) try(ctx context.Context, c creation) (o Object, fault string, err error) {
	m, err := b.settle(ctx, c)
	if err != nil {
		return Object{}, "", err
	}
	if m.proof.silent() && !b.expectation().none && b.capabilities().Echo < c.echo {
		m.proof, err = b.seek(ctx, c, m)
	}
	o = Object{Key: c.key, ETag: m.etag, VersionID: m.version, LastModified: m.when, Encryption: m.proof.Encryption}
	if err != nil {
		return o, fmt.Sprintf("its encryption could not be verified: %v", err), nil
	}
	if fault = b.expectation().fault(m.proof); fault != "" {
		b.counters.unverified.Add(1)
		return o, fault, nil
	}
	b.countBucketKey(c.key, m.proof)
	b.counters.objects.Add(1)
	return o, "", nil
}

// seek gets the proof by HEAD from a server that does not put it into answers.
func (b *Bucket) seek(ctx context.Context, c creation, m made) (proof, error) {
	o, commit, err := b.head(ctx, c.key, m.version)
	switch {
	case err != nil:
		return proof{}, err
	case commit != c.commit:
		return proof{}, errors.New("somebody else replaced it first")
	}
	return proof{Encryption: o.Encryption}, nil
}
