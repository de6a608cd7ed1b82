package kms

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// A grant lets one principal do some operations with one key:
// https://docs.aws.amazon.com/kms/latest/developerguide/grants.html
// Its JSON form is what is kept in Dir.
type grant struct {
	ID, Name          string
	Key               string // ARN
	Grantee, Retiring string
	Operations        []string
	Constraints       constraints
	Created           time.Time
}

// constraints bound a grant to an encryption context. Names are compared
// without regard to case, values with it.
type constraints struct {
	EncryptionContextEquals map[string]string `json:",omitempty"`
	EncryptionContextSubset map[string]string `json:",omitempty"`
}

// allow reports whether the context meets the constraints.
func (c constraints) allow(context map[string]string) bool {
	context = lowered(context)
	includes := func(wanted map[string]string) bool {
		for name, value := range lowered(wanted) {
			if got, ok := context[name]; !ok || got != value {
				return false
			}
		}
		return true
	}
	equals := c.EncryptionContextEquals
	return includes(c.EncryptionContextSubset) && (len(equals) == 0 || len(equals) == len(context) && includes(equals))
}

func lowered(context map[string]string) map[string]string {
	low := make(map[string]string, len(context))
	for name, value := range context {
		low[strings.ToLower(name)] = value
	}
	return low
}

// check refuses constraints that AWS does not take.
func (c constraints) check() *wire.Error {
	for _, context := range []map[string]string{c.EncryptionContextEquals, c.EncryptionContextSubset} {
		if len(context) > 8 {
			return wire.Errorf(400, "ValidationException", "A grant constraint has at most 8 encryption context pairs.")
		}
		if e := checkContext(context); e != nil {
			return e
		}
	}
	return nil
}

// Operations that a grant can allow: those of symmetric keys, and the others.
var (
	sealingGrants = []string{"Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo",
		"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "CreateGrant", "RetireGrant", "DescribeKey"}
	otherGrants = []string{"Sign", "Verify", "GetPublicKey", "GenerateMac", "VerifyMac", "DeriveSharedSecret"}
	// unconstrained are the operations that have no encryption context.
	unconstrained = []string{"DescribeKey", "RetireGrant"}
)

// grantedLocked reports whether a grant allows the call: one that is old enough
// to be known everywhere, or whose token the caller shows. None lets its
// grantee make further grants: here that takes the key's policy.
func (s *Server) grantedLocked(c call, k *key) bool {
	if c.op == "CreateGrant" {
		return false
	}
	for _, g := range s.state.Grants {
		known := !s.opts.Now().Before(g.Created.Add(s.opts.GrantDelay)) || slices.ContainsFunc(c.tokens, func(t string) bool { return tokenOf(t) == g.ID })
		if known && g.Key == k.ARN && principals([]string{g.Grantee}).cover(c.who.ARN) && slices.Contains(g.Operations, c.op) &&
			(slices.Contains(unconstrained, c.op) || g.Constraints.allow(c.context)) {
			return true
		}
	}
	return false
}

const tokenPrefix = "kmsfs-grant:"

// newToken returns a token of the grant, of which there may be many.
func newToken(id string) string {
	var unique [8]byte
	_, _ = rand.Read(unique[:]) // never fails: crypto/rand documents it
	return base64.RawURLEncoding.EncodeToString([]byte(tokenPrefix + id + string(unique[:])))
}

// tokenOf returns the id of the grant that the token is for, or "".
func tokenOf(token string) string {
	text, _ := base64.RawURLEncoding.DecodeString(token)
	rest, ok := strings.CutPrefix(string(text), tokenPrefix)
	if !ok || len(rest) != 64+8 {
		return ""
	}
	return rest[:64]
}

// checkTokens refuses what is no grant token. One whose grant has gone is no
// error: it allows nothing.
func checkTokens(tokens []string) *wire.Error {
	if e := length(len(tokens), "grantTokens", 0, 10); e != nil {
		return e
	}
	for _, t := range tokens {
		if tokenOf(t) == "" {
			return invalidToken()
		}
	}
	return nil
}

func invalidToken() *wire.Error { return wire.Errorf(400, "InvalidGrantTokenException", "") }

type (
	createGrantInput struct {
		KeyId, GranteePrincipal, RetiringPrincipal, Name string
		Operations                                       []string
		Constraints                                      constraints
		DryRun                                           bool
	}
	createGrantOutput struct {
		GrantId, GrantToken string
	}
	listGrantsInput struct {
		pageInput
		GrantId, GranteePrincipal string
	}
	grantEntry struct {
		KeyId, GrantId    string
		Name              string `json:",omitempty"`
		CreationDate      timestamp
		GranteePrincipal  string
		RetiringPrincipal string `json:",omitempty"`
		IssuingAccount    string
		Operations        []string
		Constraints       constraints
	}
	listGrantsOutput struct {
		Grants     []grantEntry
		NextMarker string `json:",omitempty"`
		Truncated  bool
	}
	endGrantInput struct {
		KeyId, GrantId, GrantToken string
	}
)

// check refuses what no key can grant.
func (in createGrantInput) check() *wire.Error {
	if in.GranteePrincipal == "" {
		return missing("granteePrincipal")
	}
	for _, arn := range []string{in.GranteePrincipal, in.RetiringPrincipal} {
		if service := field(arn, 2); arn != "" && service != "iam" && service != "sts" {
			return wire.Errorf(400, "InvalidArnException", "ARN does not refer to a valid principal: %s", arn)
		}
	}
	if len(in.Operations) == 0 {
		return missing("operations")
	}
	for _, op := range in.Operations {
		if e := oneOf(op, "operations", slices.Concat(sealingGrants, otherGrants)...); op == "" || e != nil {
			return first(e, missing("operations"))
		}
	}
	return first(in.Constraints.check(), length(len(in.Name), "name", 0, 256))
}

// fits refuses what this key cannot grant.
func (in createGrantInput) fits(k *key) *wire.Error {
	bound := len(in.Constraints.EncryptionContextEquals)+len(in.Constraints.EncryptionContextSubset) > 0
	switch {
	case k.Spec == symmetric && slices.ContainsFunc(in.Operations, func(op string) bool { return slices.Contains(otherGrants, op) }):
		return wire.Errorf(400, "ValidationException", "The operations are not supported by %s, whose key spec is %s.", k.ARN, k.Spec)
	case k.Spec != symmetric && bound:
		return wire.Errorf(400, "ValidationException", "Operations with %s have no encryption context.", k.ARN)
	}
	return nil
}

// createGrant makes a grant, or returns the one of the same name and terms.
func (s *Server) createGrant(c call, in createGrantInput) (*createGrantOutput, *wire.Error) {
	if e := in.check(); e != nil {
		return nil, e
	}
	var id [32]byte
	_, _ = rand.Read(id[:])
	g := &grant{ID: hex.EncodeToString(id[:]), Name: in.Name, Grantee: in.GranteePrincipal, Retiring: in.RetiringPrincipal,
		Operations: in.Operations, Constraints: in.Constraints, Created: s.opts.Now()}
	e := s.change(c, in.KeyId, func(k *key) *wire.Error {
		if e := first(k.usable(), in.fits(k), dryRun(in.DryRun)); e != nil {
			return e
		}
		g.Key = k.ARN
		if old := s.sameLocked(*g); old != nil {
			g = old
		}
		s.state.Grants[g.ID] = g
		return nil
	})
	if e != nil {
		return nil, e
	}
	return &createGrantOutput{g.ID, newToken(g.ID)}, nil
}

// sameLocked returns the grant that a repeated request means, or nil.
func (s *Server) sameLocked(g grant) *grant {
	for _, old := range s.state.Grants {
		g.ID, g.Created = old.ID, old.Created
		if g.Name != "" && reflect.DeepEqual(g, *old) {
			return old
		}
	}
	return nil
}

func (s *Server) listGrants(c call, in listGrantsInput) (*listGrantsOutput, *wire.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, e := s.useLocked(c, in.KeyId, false)
	if e != nil {
		return nil, e
	}
	var all []string
	for _, id := range slices.Sorted(maps.Keys(s.state.Grants)) {
		g := s.state.Grants[id]
		if g.Key == k.ARN && (in.GrantId == "" || in.GrantId == id) && (in.GranteePrincipal == "" || in.GranteePrincipal == g.Grantee) {
			all = append(all, id)
		}
	}
	page, next, e := paginate(all, in.pageInput, 50, 100)
	if e != nil {
		return nil, e
	}
	out := &listGrantsOutput{Grants: []grantEntry{}, NextMarker: next, Truncated: next != ""}
	for _, id := range page {
		g := s.state.Grants[id]
		out.Grants = append(out.Grants, grantEntry{KeyId: g.Key, GrantId: id, Name: g.Name, CreationDate: timestamp(g.Created),
			GranteePrincipal: g.Grantee, RetiringPrincipal: g.Retiring, IssuingAccount: "arn:aws:iam::" + k.account() + ":root",
			Operations: g.Operations, Constraints: g.Constraints})
	}
	return out, nil
}

func (s *Server) revokeGrant(c call, in endGrantInput) (*none, *wire.Error) {
	return nil, s.change(c, in.KeyId, func(k *key) *wire.Error {
		g := s.state.Grants[in.GrantId]
		if g == nil || g.Key != k.ARN {
			return noGrant(in.GrantId)
		}
		delete(s.state.Grants, g.ID)
		return nil
	})
}

// retireGrant is for the retiring principal, for a grantee with the right to
// it, and for the account of the key.
func (s *Server) retireGrant(c call, in endGrantInput) (*none, *wire.Error) {
	id := in.GrantId
	if in.GrantToken != "" {
		if id = tokenOf(in.GrantToken); id == "" {
			return nil, invalidToken()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.state.Grants[id]
	if g == nil || in.GrantToken == "" && g.Key != in.KeyId {
		return nil, noGrant(id)
	}
	may := c.who.ARN == g.Retiring || c.who.ARN == g.Grantee && slices.Contains(g.Operations, c.op)
	if k := s.keyLocked(g.Key); !may && k != nil {
		if e := s.authorize(c, k); e != nil {
			return nil, e
		}
	}
	delete(s.state.Grants, id)
	return nil, s.saveLocked()
}

func noGrant(id string) *wire.Error {
	return wire.Errorf(400, "NotFoundException", "Grant ID %s not found", id)
}
