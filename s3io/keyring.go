package s3io

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/kmsfs/kmsfs/crypto"
)

// kmsPatience is how long one attempt of a KMS request may take to be answered.
const kmsPatience = 10 * time.Second

// openKeyring makes the keyring that o.Envelope describes. It asks KMS only
// what the keys are.
func (b *Bucket) openKeyring(ctx context.Context, cfg aws.Config) error {
	e := b.opts.Envelope
	if e == nil {
		return nil
	}
	client, err := b.kmsClients(cfg, 0)
	if err != nil {
		return err
	}
	o := crypto.KeyringOptions{
		Scope: e.Scope, Context: e.Context, WriteOnly: e.WriteOnly, KeyPerObject: e.KeyPerObject, Reserve: e.Reserve,
		TTL: e.TTL, Grace: e.Grace, Cache: e.Cache, GrantTokens: e.GrantTokens, RequireMlock: e.RequireMlock,
		Rewrapped: b.Rewrapped, Warn: b.warn, AnyKey: e.Any, AnyContext: e.Any,
	}
	if o.Bucket, o.Accept, err = e.contexts(b.opts.Bucket, partitionOf(b.region)); err != nil && !e.Any {
		return err
	}
	for _, id := range e.KeyIDs {
		key, err := b.envelopeKey(ctx, client, id)
		if err != nil {
			return err
		}
		o.Keys = append(o.Keys, key)
		b.sealedUnder = append(b.sealedUnder, key.ARN)
	}
	for _, id := range e.AllowKeyIDs {
		arn := id
		if !isKeyARN(id) {
			key, err := b.envelopeKey(ctx, client, id)
			if err != nil {
				return err
			}
			arn = key.ARN
		}
		o.Allowed = append(o.Allowed, arn)
	}
	if b.keys, err = crypto.NewKeyring(client, o); err != nil {
		return &Error{Kind: Misconfigured, Op: "open the keyring", Err: err}
	}
	b.onClose(func(context.Context) error { b.keys.Close(); return nil })
	if len(e.Context) > 0 {
		b.warn("the encryption context is readable in every object and in CloudTrail: it must hold no secrets")
	}
	return nil
}

// kmsClients returns what makes the clients of all regions, each once. An
// attempt that hangs is cut off and made again; the operation's context ends
// the attempts, unless attempts does.
func (b *Bucket) kmsClients(cfg aws.Config, attempts int) (func(region string) crypto.KMS, error) {
	cfg = cfg.Copy()
	cfg.Retryer = func() aws.Retryer { return newRetryer(attempts) }
	if c, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = c.WithTransportOptions(func(t *http.Transport) { t.ResponseHeaderTimeout = kmsPatience })
	}
	endpoint := aws.ToString(crypto.NewKMS(cfg, b.opts.KMSEndpoint).Options().BaseEndpoint)
	if err := checkEndpoint("KMS", endpoint, "--kms-endpoint-url", b.opts.InsecureHTTP); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	clients := map[string]crypto.KMS{}
	return func(region string) crypto.KMS {
		mu.Lock()
		defer mu.Unlock()
		if clients[region] == nil {
			there := cfg.Copy()
			there.Region = region
			clients[region] = crypto.NewKMS(there, b.opts.KMSEndpoint)
		}
		return clients[region]
	}, nil
}

// envelopeKey returns the key that id names: in the bucket's region unless an
// ARN names another. Where KMS may not be asked, or does not answer, the full
// ARN of a key is taken as it is.
func (b *Bucket) envelopeKey(ctx context.Context, client func(region string) crypto.KMS, id string) (crypto.Key, error) {
	const op = "resolve KMS key"
	region := b.region
	name, err := arn.Parse(id)
	if err == nil && name.Region != "" {
		region = name.Region
	}
	ctx, cancel := context.WithTimeout(ctx, min(describeTimeout, b.lookup))
	defer cancel()
	key, err := crypto.ResolveKey(ctx, client(region), id, "", b.opts.Envelope.GrantTokens...)
	var unfit *crypto.KeyError
	switch {
	case err == nil && key.AWSManaged:
		return key, misuse(fmt.Sprintf("KMS key %s belongs to AWS, whose services alone may use it", id), "name a key of your own with --envelope-key-id")
	case err == nil:
		return key, nil
	case !errors.As(err, &unfit):
		return key, classify(ctx, op, "", err)
	case unfit.Reason != crypto.Denied && unfit.Reason != crypto.Unanswered:
		return key, &Error{Kind: keyKind(unfit.Reason), Op: op, Err: err}
	case isKeyARN(id):
		last := keyPart(id)
		return crypto.Key{ARN: id, ID: last, Region: name.Region, Account: name.AccountID, MultiRegion: strings.HasPrefix(last, "mrk-")}, nil
	}
	var e *Error
	if err = keyError(ctx, op, "", err); errors.As(err, &e) && e.Hint == "" && unfit.Reason == crypto.Unanswered {
		e.Hint = "check the network and --kms-endpoint-url, or give the key's full ARN"
	}
	return key, err
}
