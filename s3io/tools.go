package s3io

import (
	"context"
	"slices"

	"github.com/kmsfs/kmsfs/crypto"
)

// EnvelopeKeys returns the ARNs of the KMS keys that content is sealed under,
// the one that makes data keys first; none without Envelope.
func (b *Bucket) EnvelopeKeys() []string { return slices.Clone(b.sealedUnder) }

// KMSClients returns what makes the KMS clients of all regions, as Open would
// for o, for commands that need no bucket. They give up as soon as Open does.
func KMSClients(ctx context.Context, o Options) (func(region string) crypto.KMS, error) {
	fill(&o)
	cfg, err := loadConfig(ctx, o)
	if err != nil {
		return nil, err
	}
	b := newBucket(o, Policy{})
	b.cancel()
	return b.kmsClients(cfg, openAttempts)
}
