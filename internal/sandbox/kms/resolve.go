package kms

import (
	"maps"
	"strings"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// An alias is another name of a key. Its JSON form is what is kept in Dir.
type alias struct {
	Target           string // key ARN
	Created, Updated time.Time
}

const managedAlias = "alias/aws/s3"

// manageLocked makes the AWS managed key of an account and region, which AWS makes at its first use.
func (s *Server) manageLocked(account, region string) error {
	name := arnOf(region, account, managedAlias)
	if account == "" || s.state.Aliases[name] != nil {
		return nil
	}
	now := s.opts.Now()
	k := &key{
		ARN:  arnOf(region, account, "key/"+newKeyID(false)),
		Spec: symmetric, Usage: usageEncrypt, State: stateEnabled, Created: now, Managed: true, Policy: managedPolicy(account),
		Description: "Default key that protects my S3 objects when no other key is defined",
		Backing:     []backing{newBacking()},
	}
	s.state.Keys[k.ARN] = k
	s.state.Aliases[name] = &alias{Target: k.ARN, Created: now, Updated: now}
	return s.state.save(s.opts.Dir)
}

func arnOf(region, account, resource string) string {
	return strings.Join([]string{"arn:aws:kms", region, account, resource}, ":")
}

// absolute returns the ARN that a caller means by a key id, key ARN, alias name or alias ARN.
func absolute(who wire.Principal, id string) (string, *wire.Error) {
	switch {
	case strings.HasPrefix(id, "arn:"):
		resource := field(id, 5)
		if field(id, 2) != "kms" || !strings.HasPrefix(resource, "key/") && !strings.HasPrefix(resource, "alias/") {
			return "", wire.Errorf(400, "NotFoundException", "Invalid arn")
		}
		if region := field(id, 3); region != who.Region { // the regions know nothing of each other's keys
			return "", wire.Errorf(400, "NotFoundException", "Invalid arn %s", region)
		}
		return id, nil
	case strings.HasPrefix(id, "alias/"):
		return arnOf(who.Region, accountOf(who.ARN), id), nil
	case isKeyID(id):
		return arnOf(who.Region, accountOf(who.ARN), "key/"+id), nil
	}
	return "", wire.Errorf(400, "NotFoundException", "Invalid keyId '%s'", id)
}

// isKeyID reports whether s looks like what follows "key/" in an ARN.
func isKeyID(s string) bool {
	if hex, ok := strings.CutPrefix(s, "mrk-"); ok {
		return len(hex) == 32 && isHex(hex)
	}
	groups := strings.Split(s, "-")
	if len(groups) != 5 {
		return false
	}
	for i, n := range []int{8, 4, 4, 4, 12} {
		if len(groups[i]) != n || !isHex(groups[i]) {
			return false
		}
	}
	return true
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// useLocked returns the key that a caller names, if the caller may do the operation with it. Keys that aliases may not
// name are those of operations that manage keys.
func (s *Server) useLocked(c call, id string, aliases bool) (*key, *wire.Error) {
	if id == "" {
		return nil, missing("keyId")
	}
	if err := s.manageLocked(accountOf(c.who.ARN), c.who.Region); err != nil {
		return nil, internal(err)
	}
	arn, e := absolute(c.who, id)
	if e != nil {
		return nil, e
	}
	foreign := field(arn, 4) != accountOf(c.who.ARN)
	if strings.HasPrefix(field(arn, 5), "alias/") {
		switch a := s.state.Aliases[arn]; {
		case !aliases && arn == id:
			return nil, wire.Errorf(400, "InvalidArnException", "Key Aliases are not supported for this operation")
		case !aliases:
			return nil, wire.Errorf(400, "NotFoundException", "Invalid keyId '%s'", id)
		case a == nil && foreign:
			return nil, unseen(c, arn)
		case a == nil:
			return nil, wire.Errorf(400, "NotFoundException", "Alias %s is not found.", arn)
		default:
			arn = a.Target
		}
	}
	k := s.keyLocked(arn)
	switch {
	case k == nil && foreign, foreign && !aliases: // keys are managed in their own account only
		return nil, unseen(c, arn)
	case k == nil:
		return nil, wire.Errorf(400, "NotFoundException", "Key '%s' does not exist", arn)
	}
	return k, s.authorize(c, k)
}

// keyLocked returns a key by its ARN, or nil. A key whose waiting period is over is deleted now.
func (s *Server) keyLocked(arn string) *key {
	k := s.state.Keys[arn]
	if k == nil || k.State != statePending || s.opts.Now().Before(k.Deletion) {
		return k
	}
	delete(s.state.Keys, arn)
	for name, a := range s.state.Aliases {
		if a.Target == arn {
			delete(s.state.Aliases, name)
		}
	}
	maps.DeleteFunc(s.state.Grants, func(_ string, g *grant) bool { return g.Key == arn })
	return nil
}

// authorize refuses what neither the key's policy nor a grant allows, and what was denied.
func (s *Server) authorize(c call, k *key) *wire.Error {
	if c.direct {
		return nil
	}
	action := "kms:" + c.op
	p, err := parsePolicy(k.Policy)
	if err != nil { // checked when it was set
		return internal(err)
	}
	// The policy of a managed key lets those in who come through S3.
	allowed := p.allows(c.who.ARN, action) || k.Managed && c.s3 && accountOf(c.who.ARN) == k.account() || s.grantedLocked(c, k)
	if allowed && !s.opts.Denials.Denied(action, k.ARN, c.who.ARN) {
		return nil
	}
	if accountOf(c.who.ARN) != k.account() {
		return unseen(c, k.ARN)
	}
	return wire.Errorf(400, "AccessDeniedException", "User: %s is not authorized to perform: %s on resource: %s because no resource-based policy allows the %s action", c.who.ARN, action, k.ARN, action)
}

// unseen is the answer about what another account has or has not: it does not tell which.
func unseen(c call, resource string) *wire.Error {
	return wire.Errorf(400, "AccessDeniedException", "User: %s is not authorized to perform: kms:%s on resource: %s because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access", c.who.ARN, c.op, resource)
}

// permit refuses operations on no key in particular that were denied.
func (s *Server) permit(c call) *wire.Error {
	action := "kms:" + c.op
	if s.opts.Denials.Denied(action, "*", c.who.ARN) {
		return wire.Errorf(400, "AccessDeniedException", "User: %s is not authorized to perform: %s because no identity-based policy allows the %s action", c.who.ARN, action, action)
	}
	return nil
}
