package kms

import (
	"maps"
	"slices"
	"strings"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

type (
	aliasInput struct {
		AliasName, TargetKeyId string
	}
	aliasEntry struct {
		AliasName, AliasArn           string
		TargetKeyId                   string
		CreationDate, LastUpdatedDate timestamp
	}
	listAliasesOutput struct {
		Aliases    []aliasEntry
		NextMarker string `json:",omitempty"`
		Truncated  bool
	}
)

// check refuses names that no alias of a customer can have.
func (in aliasInput) check() *wire.Error {
	rest, ok := strings.CutPrefix(in.AliasName, "alias/")
	switch {
	case in.AliasName == "":
		return missing("aliasName")
	case len(in.AliasName) > 256:
		return length(len(in.AliasName), "aliasName", 1, 256)
	case strings.Trim(in.AliasName, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/_-") != "":
		return invalid("'"+in.AliasName+"' ", "aliasName", "Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$")
	case !ok || rest == "":
		return wire.Errorf(400, "ValidationException", "Invalid identifier")
	case strings.HasPrefix(rest, "aws/"):
		return wire.Errorf(400, "NotAuthorizedException", "")
	}
	return nil
}

func (s *Server) createAlias(c call, in aliasInput) (*none, *wire.Error) {
	if e := in.check(); e != nil {
		return nil, e
	}
	return nil, s.change(c, in.TargetKeyId, func(k *key) *wire.Error {
		name := arnOf(k.region(), k.account(), in.AliasName)
		if k.State == statePending {
			return k.pending()
		}
		if s.state.Aliases[name] != nil {
			return wire.Errorf(400, "AlreadyExistsException", "An alias with the name %s already exists", name)
		}
		now := s.opts.Now()
		s.state.Aliases[name] = &alias{Target: k.ARN, Created: now, Updated: now}
		return nil
	})
}

func (s *Server) updateAlias(c call, in aliasInput) (*none, *wire.Error) {
	if e := in.check(); e != nil {
		return nil, e
	}
	return nil, s.change(c, in.TargetKeyId, func(k *key) *wire.Error {
		name := arnOf(k.region(), k.account(), in.AliasName)
		a := s.state.Aliases[name]
		if a == nil {
			return wire.Errorf(400, "NotFoundException", "Alias %s is not found.", name)
		}
		if k.State == statePending {
			return k.pending()
		}
		a.Target, a.Updated = k.ARN, s.opts.Now()
		return nil
	})
}

func (s *Server) deleteAlias(c call, in aliasInput) (*none, *wire.Error) {
	if e := first(in.check(), s.permit(c)); e != nil {
		return nil, e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := arnOf(c.who.Region, accountOf(c.who.ARN), in.AliasName)
	if s.state.Aliases[name] == nil {
		return nil, wire.Errorf(400, "NotFoundException", "Alias %s is not found.", name)
	}
	delete(s.state.Aliases, name)
	return nil, s.saveLocked()
}

func (s *Server) listAliases(c call, in pageInput) (*listAliasesOutput, *wire.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.manageLocked(accountOf(c.who.ARN), c.who.Region); err != nil {
		return nil, internal(err)
	}
	var only *key
	if in.KeyId != "" {
		var e *wire.Error
		if only, e = s.useLocked(c, in.KeyId, false); e != nil {
			return nil, e
		}
	}
	var all []string
	prefix := arnOf(c.who.Region, accountOf(c.who.ARN), "alias/")
	for _, arn := range slices.Sorted(maps.Keys(s.state.Aliases)) {
		if strings.HasPrefix(arn, prefix) && (only == nil || s.state.Aliases[arn].Target == only.ARN) {
			all = append(all, arn)
		}
	}
	page, next, e := paginate(all, in, 50, 100)
	if e = first(s.permit(c), e); e != nil {
		return nil, e
	}
	out := &listAliasesOutput{Aliases: []aliasEntry{}, NextMarker: next, Truncated: next != ""}
	for _, arn := range page {
		a := s.state.Aliases[arn]
		out.Aliases = append(out.Aliases, aliasEntry{
			AliasName: "alias/" + strings.TrimPrefix(arn, prefix), AliasArn: arn,
			TargetKeyId:  a.Target[strings.LastIndexByte(a.Target, '/')+1:],
			CreationDate: timestamp(a.Created), LastUpdatedDate: timestamp(a.Updated),
		})
	}
	return out, nil
}
