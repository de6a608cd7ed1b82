package kms

import (
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// maxDemands is how often a key can be rotated on demand:
// https://docs.aws.amazon.com/kms/latest/APIReference/API_RotateKeyOnDemand.html
const maxDemands = 25

// rotation is the schedule of a key, and how often it was rotated beside it.
// That of a multi-Region key is its primary's.
type rotation struct {
	Days    int       `json:",omitempty"` // 0: no schedule
	Next    time.Time `json:",omitzero"`
	Demands int       `json:",omitempty"`
}

type (
	enableRotationInput struct {
		KeyId                string
		RotationPeriodInDays *int
	}
	rotationOutput struct {
		KeyId                string
		KeyRotationEnabled   bool
		NextRotationDate     *timestamp `json:",omitempty"`
		RotationPeriodInDays int        `json:",omitempty"`
	}
)

func (s *Server) enableKeyRotation(c call, in enableRotationInput) (*none, *wire.Error) {
	if e := between(in.RotationPeriodInDays, "rotationPeriodInDays", 90, 2560); e != nil {
		return nil, e
	}
	days := 365
	if in.RotationPeriodInDays != nil {
		days = *in.RotationPeriodInDays
	}
	return nil, s.change(c, in.KeyId, func(k *key) *wire.Error {
		e := first(k.rotates(), k.usable())
		if e == nil {
			k.Rotation.Days, k.Rotation.Next = days, s.opts.Now().Add(time.Duration(days)*day)
		}
		return e
	})
}

func (s *Server) disableKeyRotation(c call, in keyInput) (*none, *wire.Error) {
	return nil, s.change(c, in.KeyId, func(k *key) *wire.Error {
		e := first(k.rotates(), k.usable())
		if e == nil {
			k.Rotation.Days, k.Rotation.Next = 0, time.Time{}
		}
		return e
	})
}

func (s *Server) keyRotationStatus(c call, in keyInput) (*rotationOutput, *wire.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, e := s.useLocked(c, in.KeyId, false)
	if e != nil {
		return nil, e
	}
	out := &rotationOutput{KeyId: k.ARN, KeyRotationEnabled: k.Managed}
	if r := s.primaryLocked(k).Rotation; r.Days > 0 && k.State != statePending {
		next := timestamp(r.Next)
		out.KeyRotationEnabled, out.NextRotationDate, out.RotationPeriodInDays = true, &next, r.Days
	}
	return out, nil
}

func (s *Server) rotateKeyOnDemand(c call, in keyInput) (*keyIDOutput, *wire.Error) {
	var out *keyIDOutput
	e := s.change(c, in.KeyId, func(k *key) *wire.Error {
		if e := first(k.rotates(), k.usable()); e != nil {
			return e
		}
		if k.Rotation.Demands == maxDemands {
			return wire.Errorf(400, "LimitExceededException", "%s was rotated on demand %d times.", k.ARN, maxDemands)
		}
		k.Rotation.Demands++
		s.rotateLocked(k)
		out = &keyIDOutput{k.ARN}
		return nil
	})
	return out, e
}

// rotates refuses keys whose material is not changed, or not by their own name.
func (k *key) rotates() *wire.Error {
	switch {
	case k.Spec != symmetric:
		return wire.Errorf(400, "UnsupportedOperationException", "%s is no symmetric encryption key: it cannot be rotated.", k.ARN)
	case k.Primary != "" && k.Primary != k.ARN:
		return wire.Errorf(400, "UnsupportedOperationException", "%s is a replica: rotate its primary key %s.", k.ARN, k.Primary)
	}
	return nil
}

// primaryLocked returns the key that says when k is rotated: k, or the primary
// that it is a replica of.
func (s *Server) primaryLocked(k *key) *key {
	if p := s.state.Keys[k.Primary]; p != nil {
		return p
	}
	return k
}

// rotateLocked gives k and its replicas new material. What the old one sealed
// it still opens: blobs name their backing key.
func (s *Server) rotateLocked(k *key) {
	fresh := newBacking()
	for _, other := range s.state.Keys {
		if other == k || k.Primary != "" && other.Primary == k.Primary {
			other.Backing = append(other.Backing[:len(other.Backing):len(other.Backing)], fresh)
		}
	}
}

// rotateDueLocked carries out a rotation whose time has come, before k seals.
func (s *Server) rotateDueLocked(k *key) *wire.Error {
	p, now := s.primaryLocked(k), s.opts.Now()
	if p.Rotation.Days == 0 || p.State != stateEnabled || now.Before(p.Rotation.Next) {
		return nil
	}
	period := time.Duration(p.Rotation.Days) * day
	p.Rotation.Next = p.Rotation.Next.Add((now.Sub(p.Rotation.Next)/period + 1) * period)
	s.rotateLocked(p)
	return s.saveLocked()
}
