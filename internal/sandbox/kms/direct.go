package kms

import (
	"fmt"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// KeyOptions say what CreateKey makes. The zero value is an enabled symmetric key of the server's account and region
// under the default policy.
type KeyOptions struct {
	Account, Region string
	Spec, Usage     string // as KMS names them
	MultiRegion     bool
	Policy          string // JSON; "" leaves all rights to the account
	Alias           string // such as alias/kmsfs-demo; "" is none
}

// CreateKey makes a key without a request, and returns its ARN.
func (s *Server) CreateKey(o KeyOptions) (arn string, err error) {
	if o.Account == "" {
		o.Account = s.opts.Account
	}
	if o.Region == "" {
		o.Region = s.opts.Region
	}
	in := createKeyInput{KeySpec: o.Spec, KeyUsage: o.Usage, MultiRegion: o.MultiRegion, Policy: o.Policy}
	if e := in.check(); e != nil {
		return "", fmt.Errorf("create a key in the sandbox: %w", e)
	}
	k, e := s.add(o.Account, o.Region, in)
	if e == nil && o.Alias != "" {
		_, e = s.createAlias(owner(k.ARN, "CreateAlias"), aliasInput{AliasName: o.Alias, TargetKeyId: k.ARN})
	}
	if e != nil {
		return "", fmt.Errorf("create a key in the sandbox: %w", e)
	}
	return k.ARN, nil
}

// KeyARN returns the ARN of the key that an alias of the server's account and region names, or "".
func (s *Server) KeyARN(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.state.Aliases[arnOf(s.opts.Region, s.opts.Account, name)]; a != nil {
		return a.Target
	}
	return ""
}

// Replicate makes a replica of a multi-Region key in another region, and returns its ARN.
func (s *Server) Replicate(arn, region string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keyLocked(arn)
	if k == nil || k.Primary != arn {
		return "", fmt.Errorf("replicate %s: not the primary of a multi-Region key", arn)
	}
	replica := *k
	replica.Rotation = rotation{} // it has its primary's
	replica.ARN = arnOf(region, k.account(), "key/"+k.id())
	if s.state.Keys[replica.ARN] != nil {
		return "", fmt.Errorf("replicate %s: it is in %s already", arn, region)
	}
	s.state.Keys[replica.ARN] = &replica
	if err := s.state.save(s.opts.Dir); err != nil {
		return "", err
	}
	return replica.ARN, nil
}

// Disable disables a key.
func (s *Server) Disable(arn string) error {
	_, e := s.disableKey(owner(arn, "DisableKey"), keyInput{arn})
	return plain(e)
}

// Enable enables a key that is disabled.
func (s *Server) Enable(arn string) error {
	_, e := s.enableKey(owner(arn, "EnableKey"), keyInput{arn})
	return plain(e)
}

// ScheduleDeletion marks a key for deletion in 30 days.
func (s *Server) ScheduleDeletion(arn string) error {
	_, e := s.scheduleKeyDeletion(owner(arn, "ScheduleKeyDeletion"), deletionInput{KeyId: arn})
	return plain(e)
}

// Rotate gives a key new material, as RotateKeyOnDemand does.
func (s *Server) Rotate(arn string) error {
	_, e := s.rotateKeyOnDemand(owner(arn, "RotateKeyOnDemand"), keyInput{arn})
	return plain(e)
}

// owner is a call without a request, in the account and region of the key.
func owner(arn, op string) call {
	k := key{ARN: arn}
	root := wire.Identity{ARN: "arn:aws:iam::" + k.account() + ":root"}
	return call{op: op, who: wire.Principal{Identity: root, Region: k.region()}, direct: true}
}

// plain turns a nil *wire.Error into a nil error.
func plain(e *wire.Error) error {
	if e == nil {
		return nil
	}
	return e
}
