package crypto

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
)

// Describer is the part of KMS that ResolveKey asks; *kms.Client has it.
type Describer interface {
	DescribeKey(context.Context, *kms.DescribeKeyInput, ...func(*kms.Options)) (*kms.DescribeKeyOutput, error)
}

// NewKMS returns a KMS client that follows cfg, at endpoint instead of AWS's
// own unless that is empty.
func NewKMS(cfg aws.Config, endpoint string) *kms.Client {
	return kms.NewFromConfig(cfg, func(o *kms.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
}

// Key is a KMS key that can encrypt objects.
type Key struct {
	ARN         string // what S3 answers with, and what every name of the key resolves to
	ID          string // the ARN's last part: a UUID, or "mrk-" and 32 digits
	Region      string // where ARN is; a replica of a multi-region key has its own
	Account     string // who owns it; may be another account than the caller's
	MultiRegion bool   // S3 treats it as a single-region key all the same
	AWSManaged  bool   // a key such as aws/s3, whose policy and account cannot be changed
}

// ResolveKey asks KMS which key id names (a key id, a key ARN, an alias or an
// alias ARN) and whether it can encrypt objects in region. An alias is
// resolved here, once: later changes of the alias do not move the key. Where
// region is empty, a key of any region will do. grants are tokens of grants that
// may be new. Every error is a *KeyError.
func ResolveKey(ctx context.Context, d Describer, id, region string, grants ...string) (Key, error) {
	if err := checkID(id, region); err != nil {
		return Key{}, err
	}
	out, err := d.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(id), GrantTokens: grants})
	if err != nil {
		return Key{}, describeError(id, err)
	}
	if out.KeyMetadata == nil || aws.ToString(out.KeyMetadata.Arn) == "" {
		return Key{}, &KeyError{ID: id, Reason: Unanswered, Detail: "was described without its ARN",
			Remedy: "check that the KMS endpoint is one"}
	}
	return keyOf(id, region, out.KeyMetadata)
}

// keyOf turns KMS's description into a Key, or into the reason against it.
func keyOf(id, region string, m *types.KeyMetadata) (Key, error) {
	a, err := arn.Parse(aws.ToString(m.Arn))
	if err != nil {
		return Key{}, &KeyError{ID: id, Reason: Unanswered, Err: err,
			Detail: fmt.Sprintf("was described with the ARN %q", aws.ToString(m.Arn)),
			Remedy: "check that the KMS endpoint is one"}
	}
	if region != "" && a.Region != region {
		return Key{}, wrongRegion(id, a.Region, region)
	}
	if err := unfit(id, m); err != nil {
		return Key{}, err
	}
	return Key{
		ARN:         aws.ToString(m.Arn),
		ID:          aws.ToString(m.KeyId),
		Region:      a.Region,
		Account:     a.AccountID,
		MultiRegion: aws.ToBool(m.MultiRegion),
		AWSManaged:  m.KeyManager == types.KeyManagerTypeAws,
	}, nil
}

// unfit says why the key described by m cannot encrypt, nil if it can. What
// never changes is named before what may pass.
// https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
func unfit(id string, m *types.KeyMetadata) error {
	refuse := func(r Reason, detail, remedy string) error {
		return &KeyError{ID: id, Reason: r, Detail: detail, Remedy: remedy}
	}
	const other = "choose a symmetric encryption key (key spec SYMMETRIC_DEFAULT)"
	switch {
	case strings.HasPrefix(string(m.KeySpec), "HMAC_"):
		return refuse(HMAC, fmt.Sprintf("is an HMAC key (%s), which cannot encrypt", m.KeySpec), other)
	case m.KeySpec != types.KeySpecSymmetricDefault:
		return refuse(Asymmetric, fmt.Sprintf("is an asymmetric key (%s), which S3 does not accept", m.KeySpec), other)
	}
	arn := aws.ToString(m.Arn)
	switch m.KeyState {
	case types.KeyStateEnabled, types.KeyStateUpdating:
		return nil
	case types.KeyStateDisabled:
		return refuse(Disabled, "is disabled", "enable it with `aws kms enable-key --key-id "+arn+"`, or choose another key")
	case types.KeyStatePendingDeletion, types.KeyStatePendingReplicaDeletion:
		detail := "is pending deletion"
		if m.DeletionDate != nil {
			detail += " on " + m.DeletionDate.UTC().Format(time.DateOnly)
		}
		return refuse(PendingDeletion, detail, "keep it with `aws kms cancel-key-deletion --key-id "+arn+"` and enable it, or choose another key")
	case types.KeyStatePendingImport:
		return refuse(PendingImport, "waits for its key material to be imported", "import it with `aws kms import-key-material`, or choose another key")
	default:
		return refuse(Unavailable, fmt.Sprintf("is in the state %q", m.KeyState), "wait until it is enabled, check its custom key store, or choose another key")
	}
}

// describeError classifies what DescribeKey answered.
func describeError(id string, err error) error {
	e := &KeyError{ID: id, Detail: "could not be described", Err: err}
	var missing *types.NotFoundException
	var badARN *types.InvalidArnException
	var api smithy.APIError
	switch {
	case errors.As(err, &missing) && isAlias(id):
		e.Reason, e.Detail = NoTarget, "is an alias that does not exist or points to no key"
		e.Remedy = "list the aliases of this account and region with `aws kms list-aliases`"
	case errors.As(err, &missing):
		e.Reason, e.Detail = NotFound, "does not exist in this account and region"
		e.Remedy = "check region and id; a key of another account needs its full ARN" + aliasHint(id)
	case errors.As(err, &badARN):
		e.Reason, e.Detail = Malformed, "is no ARN that KMS accepts"
		e.Remedy = idForms
	case errors.As(err, &api):
		switch api.ErrorCode() {
		case "AccessDeniedException", "AccessDenied":
			e.Reason, e.Detail = Denied, "may not be described by these credentials"
			e.Remedy = "allow them kms:DescribeKey on the key, or give the key's full ARN"
		case "ValidationException":
			e.Reason, e.Detail, e.Remedy = Malformed, "is no key id that KMS accepts", idForms
		}
	}
	return e
}
