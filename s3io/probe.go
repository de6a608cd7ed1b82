package s3io

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/kmsfs/kmsfs/crypto"
)

// EchoLevel says which answers of a server carry the proof of encryption.
// Where they do not, HEAD is asked.
type EchoLevel uint8

// The levels, each with what the one before has.
const (
	EchoUnknown EchoLevel = iota // not probed
	EchoHead                     // HEAD only
	EchoPut                      // and PutObject
	EchoAll                      // and CreateMultipartUpload, CompleteMultipartUpload and CopyObject, as AWS
)

// String names the level.
func (l EchoLevel) String() string {
	switch l {
	case EchoHead:
		return "head"
	case EchoPut:
		return "put"
	case EchoAll:
		return "all"
	}
	return "unknown"
}

// Capabilities is what Probe learned about the server.
type Capabilities struct {
	PutIfAbsent, PutIfMatch           bool // PutObject honours If-None-Match: * and If-Match
	CompleteIfAbsent, CompleteIfMatch bool // CompleteMultipartUpload likewise
	CopyIfMatch                       bool // x-amz-copy-source-if-match
	CopyToAbsent, CopyToMatch         bool // CopyObject's conditions on its target
	DeleteIfMatch                     bool
	Versioned                         bool      // the bucket keeps versions
	Echo                              EchoLevel // which answers prove the encryption
}

// Probe proves the policy before anything is written, and learns what the
// server honours. Under Envelope it first proves that KMS makes and opens data
// keys. It begins a multipart upload and aborts it; AWS needs no
// more. A custom endpoint is tried with an object below ".kmsfs/" that is
// removed again. Probe sends nothing on a read-only bucket, and nothing once it
// has succeeded.
func (b *Bucket) Probe(ctx context.Context) (Capabilities, error) {
	b.probing.Lock()
	defer b.probing.Unlock()
	if caps := b.capabilities(); b.opts.ReadOnly || caps.Echo != EchoUnknown {
		return caps, nil
	}
	ctx, deadline := b.reading(ctx)
	defer deadline.stop()
	if b.sealing() {
		if err := b.probeKeys(ctx); err != nil {
			return Capabilities{}, err
		}
	}
	p := &probe{b: b, key: ".kmsfs/probe-" + newCommitID()}
	if err := b.journal.note(entry{Probe: p.key}); err != nil {
		return Capabilities{}, err
	}
	caps, err := p.run(ctx)
	if !p.left {
		err = errors.Join(err, b.journal.end(p.key))
	}
	if err != nil {
		return Capabilities{}, err
	}
	b.mu.Lock()
	b.caps, b.probed = caps, true
	b.mu.Unlock()
	if missing := caps.missing(); len(missing) > 0 {
		b.warn("the server ignores conditions (" + strings.Join(missing, ", ") +
			"): kmsfs asks before it writes, but two hosts that write at once may not notice each other")
	}
	return caps, nil
}

// probeKeys proves that files can be sealed and, unless that is not wanted,
// opened again.
func (b *Bucket) probeKeys(ctx context.Context) error {
	const op = "probe the envelope key"
	err := b.keys.Check(ctx)
	var unfit *crypto.KeyError
	if err == nil || errors.As(err, &unfit) || errors.Is(err, crypto.ErrTampered) {
		return keyError(ctx, op, "", err)
	}
	return &Error{Kind: Misconfigured, Op: op, Err: err} // headers have no room for all keys and contexts
}

// missing names the conditions that the server does not honour.
func (c Capabilities) missing() []string {
	var names []string
	for _, x := range []struct {
		honoured bool
		name     string
	}{
		{c.PutIfAbsent, "PutObject If-None-Match"}, {c.PutIfMatch, "PutObject If-Match"},
		{c.CompleteIfAbsent, "CompleteMultipartUpload If-None-Match"}, {c.CompleteIfMatch, "CompleteMultipartUpload If-Match"},
		{c.CopyIfMatch, "CopyObject x-amz-copy-source-if-match"},
		{c.CopyToAbsent, "CopyObject If-None-Match"}, {c.CopyToMatch, "CopyObject If-Match"},
		{c.DeleteIfMatch, "DeleteObject If-Match"},
	} {
		if !x.honoured {
			names = append(names, x.name)
		}
	}
	return names
}

// run probes. AWS is trusted to honour what it documents.
func (p *probe) run(ctx context.Context) (_ Capabilities, err error) {
	defer func() {
		if err != nil {
			p.dropUploads(ctx)
		}
	}()
	create, err := p.create(ctx)
	if err != nil {
		return Capabilities{}, err
	}
	if p.b.genuine && !create.silent() {
		p.b.pin(create)
		versioned, err := p.b.settings(ctx)
		return Capabilities{
			PutIfAbsent: true, PutIfMatch: true, CompleteIfAbsent: true, CompleteIfMatch: true,
			CopyIfMatch: true, CopyToAbsent: true, CopyToMatch: true, DeleteIfMatch: true,
			Versioned: versioned, Echo: EchoAll,
		}, err
	}
	if err := p.b.journal.note(entry{Probe: p.key, Made: true}); err != nil {
		return Capabilities{}, err
	}
	return p.object(ctx, !create.silent())
}

// sweepProbe removes what a probe left that could not end.
func (b *Bucket) sweepProbe(ctx context.Context, e entry) error {
	p := &probe{b: b, key: e.Probe}
	p.dropUploads(ctx)
	if !e.Made {
		return nil
	}
	return p.clean(ctx)
}

// settings asks AWS for what the bucket is set to. Not to be allowed to ask
// costs nothing but knowledge.
func (b *Bucket) settings(ctx context.Context) (versioned bool, err error) {
	v, err := b.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &b.opts.Bucket})
	if err != nil && KindOf(classify(ctx, "probe", "", err)) == Timeout {
		return false, classify(ctx, "read the bucket's versioning", "", err)
	}
	versioned = err == nil && v.Status == types.BucketVersioningStatusEnabled
	o, err := b.s3.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: &b.opts.Bucket})
	acls := code(err) == "OwnershipControlsNotFoundError" // buckets made before April 2023
	if err == nil && o.OwnershipControls != nil {
		for _, rule := range o.OwnershipControls.Rules {
			acls = acls || rule.ObjectOwnership != types.ObjectOwnershipBucketOwnerEnforced
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acls = acls
	return versioned, nil
}

// unproven refuses the server.
func (p *probe) unproven(fault string) error {
	return &Error{Kind: Unverified, Op: "probe the server's encryption", Err: errors.New(fault),
		Hint: "nothing is mounted, because nothing proves that files would be encrypted: check that the server supports --sse " +
			p.b.policy.Mode + " with this key"}
}

// refused explains why the probe could not be made.
func (p *probe) refused(ctx context.Context, what string, err error) error {
	e := &Error{Op: "probe: " + what, Err: plain(ctx, err)}
	if e.Kind, e.Hint = kindOf(ctx, err); e.Kind == Permission && e.Hint == "" {
		e.Hint = fmt.Sprintf("writing needs s3:PutObject and s3:AbortMultipartUpload on s3://%s/%s*, and kms:GenerateDataKey and kms:Decrypt on the key; use --read-only to mount without",
			p.b.opts.Bucket, p.b.opts.Prefix)
	}
	return e
}
