package kms

import (
	"maps"
	"slices"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

const day = 24 * time.Hour

type (
	createKeyInput struct {
		Policy, Description, KeyUsage  string
		CustomerMasterKeySpec, KeySpec string
		Origin                         string
		MultiRegion                    bool
		BypassPolicyLockoutSafetyCheck bool
		CustomKeyStoreId, XksKeyId     string
	}
	keyInput struct {
		KeyId string
	}
	metadataOutput struct {
		KeyMetadata metadata
	}
	deletionInput struct {
		KeyId               string
		PendingWindowInDays *int
	}
	deletionOutput struct {
		KeyId               string
		DeletionDate        timestamp
		KeyState            string
		PendingWindowInDays int
	}
	keyIDOutput struct {
		KeyId string
	}
	policyInput struct {
		KeyId, PolicyName, Policy string
	}
	policyOutput struct {
		Policy, PolicyName string
	}
	pageInput struct {
		KeyId  string // of ListAliases
		Limit  *int
		Marker string
	}
	keyEntry struct {
		KeyId, KeyArn string
	}
	listKeysOutput struct {
		Keys       []keyEntry
		NextMarker string `json:",omitempty"`
		Truncated  bool
	}
)

func (s *Server) createKey(c call, in createKeyInput) (*metadataOutput, *wire.Error) {
	if e := first(s.permit(c), in.check()); e != nil {
		return nil, e
	}
	account := accountOf(c.who.ARN)
	k, err := s.add(account, c.who.Region, in)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &metadataOutput{k.describe(s.state.Keys)}, nil
}

// check fills in what CreateKey assumes, and refuses what there is not.
func (in *createKeyInput) check() *wire.Error {
	if in.KeySpec == "" {
		in.KeySpec = in.CustomerMasterKeySpec // its name until 2021
	}
	if in.KeySpec == "" {
		in.KeySpec = symmetric
	}
	if in.KeyUsage == "" {
		in.KeyUsage = usageEncrypt
	}
	if e := first(oneOf(in.KeyUsage, "keyUsage", usageSign, usageEncrypt, usageMAC, usageAgreement),
		oneOf(in.Origin, "origin", "AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"),
		length(len(in.Description), "description", 0, 8192)); e != nil {
		return e
	}
	if in.Origin != "" && in.Origin != "AWS_KMS" || in.CustomKeyStoreId+in.XksKeyId != "" {
		return wire.Errorf(400, "UnsupportedOperationException", "this sandbox makes keys of origin AWS_KMS only")
	}
	if algorithmsOf(in.KeySpec, in.KeyUsage).none() {
		return wire.Errorf(400, "ValidationException", "KeyUsage %s is not compatible with KeySpec %s", in.KeyUsage, in.KeySpec)
	}
	if in.Policy == "" {
		return nil
	}
	return checkPolicy(in.Policy)
}

func checkPolicy(text string) *wire.Error {
	if _, err := parsePolicy(text); err != nil {
		return wire.Errorf(400, "MalformedPolicyDocumentException", "%v", err)
	}
	return nil
}

// add makes a key from input that was checked.
func (s *Server) add(account, region string, in createKeyInput) (*key, *wire.Error) {
	k := &key{
		ARN:         arnOf(region, account, "key/"+newKeyID(in.MultiRegion)),
		Description: in.Description, Spec: in.KeySpec, Usage: in.KeyUsage, Policy: in.Policy,
		State: stateEnabled, Created: s.opts.Now(),
	}
	if k.Policy == "" {
		k.Policy = defaultPolicy(account)
	}
	if k.Spec == symmetric {
		k.Backing = []backing{newBacking()}
	}
	if in.MultiRegion {
		k.Primary = k.ARN
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Keys[k.ARN] = k
	return k, s.saveLocked()
}

// saveLocked writes what changed.
func (s *Server) saveLocked() *wire.Error {
	if err := s.state.save(s.opts.Dir); err != nil {
		return internal(err)
	}
	return nil
}

func (s *Server) describeKey(c call, in keyInput) (*metadataOutput, *wire.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, e := s.useLocked(c, in.KeyId, true)
	if e != nil {
		return nil, e
	}
	return &metadataOutput{k.describe(s.state.Keys)}, nil
}

func (s *Server) enableKey(c call, in keyInput) (*none, *wire.Error) {
	return nil, s.change(c, in.KeyId, func(k *key) *wire.Error {
		if k.State == statePending {
			return k.pending()
		}
		k.State = stateEnabled
		return nil
	})
}

func (s *Server) disableKey(c call, in keyInput) (*none, *wire.Error) {
	return nil, s.change(c, in.KeyId, func(k *key) *wire.Error {
		if k.State == statePending {
			return k.pending()
		}
		k.State = stateDisabled
		return nil
	})
}

func (s *Server) scheduleKeyDeletion(c call, in deletionInput) (*deletionOutput, *wire.Error) {
	days := 30
	if in.PendingWindowInDays != nil {
		days = *in.PendingWindowInDays
	}
	if days < 7 || days > 30 {
		return nil, wire.Errorf(400, "ValidationException", "PendingWindowInDays must be between 7 and 30 days")
	}
	var out *deletionOutput
	e := s.change(c, in.KeyId, func(k *key) *wire.Error {
		if k.State == statePending {
			return k.pending()
		}
		k.State, k.Deletion = statePending, s.opts.Now().Add(time.Duration(days)*day)
		out = &deletionOutput{k.ARN, timestamp(k.Deletion), k.State, days}
		return nil
	})
	return out, e
}

// cancelKeyDeletion leaves the key disabled, as AWS does.
func (s *Server) cancelKeyDeletion(c call, in keyInput) (*keyIDOutput, *wire.Error) {
	var out *keyIDOutput
	e := s.change(c, in.KeyId, func(k *key) *wire.Error {
		if k.State != statePending {
			return wire.Errorf(400, "KMSInvalidStateException", "%s is not pending deletion.", k.ARN)
		}
		k.State, k.Deletion = stateDisabled, time.Time{}
		out = &keyIDOutput{k.ARN}
		return nil
	})
	return out, e
}

// change applies what manages a key, and keeps the result.
func (s *Server) change(c call, id string, f func(*key) *wire.Error) *wire.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, e := s.useLocked(c, id, false)
	if e == nil {
		e = f(k)
	}
	if e != nil {
		return e
	}
	return s.saveLocked()
}

func (s *Server) keyPolicy(c call, in policyInput) (*policyOutput, *wire.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, e := s.useLocked(c, in.KeyId, false)
	if e = first(e, policyName(in.PolicyName)); e != nil {
		return nil, e
	}
	return &policyOutput{Policy: k.Policy, PolicyName: "default"}, nil
}

func (s *Server) putKeyPolicy(c call, in policyInput) (*none, *wire.Error) {
	if e := first(policyName(in.PolicyName), checkPolicy(in.Policy)); e != nil {
		return nil, e
	}
	return nil, s.change(c, in.KeyId, func(k *key) *wire.Error {
		k.Policy = in.Policy
		return nil
	})
}

// policyName refuses other names than the only one there is.
func policyName(name string) *wire.Error {
	if name != "" && name != "default" {
		return wire.Errorf(400, "NotFoundException", "No such policy exists")
	}
	return nil
}

func (s *Server) listKeys(c call, in pageInput) (*listKeysOutput, *wire.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.manageLocked(accountOf(c.who.ARN), c.who.Region); err != nil {
		return nil, internal(err)
	}
	var all []string
	for _, arn := range slices.Sorted(maps.Keys(s.state.Keys)) {
		if k := s.keyLocked(arn); k != nil && k.account() == accountOf(c.who.ARN) && k.region() == c.who.Region {
			all = append(all, arn)
		}
	}
	page, next, e := paginate(all, in, 100, 1000)
	if e = first(s.permit(c), e); e != nil {
		return nil, e
	}
	out := &listKeysOutput{Keys: []keyEntry{}, NextMarker: next, Truncated: next != ""}
	for _, arn := range page {
		out.Keys = append(out.Keys, keyEntry{KeyId: s.state.Keys[arn].id(), KeyArn: arn})
	}
	return out, nil
}

// paginate returns the names after the marker, and the marker of the next page if there is one.
func paginate(sorted []string, in pageInput, size, most int) (page []string, next string, e *wire.Error) {
	if e := between(in.Limit, "limit", 1, most); e != nil {
		return nil, "", e
	}
	if in.Limit != nil {
		size = *in.Limit
	}
	if in.Marker != "" {
		i, found := slices.BinarySearch(sorted, in.Marker)
		if found {
			i++
		}
		sorted = sorted[i:]
	}
	if len(sorted) <= size {
		return sorted, "", nil
	}
	return sorted[:size], sorted[size-1], nil
}
