package crypto

import (
	"context"
	"fmt"
	"slices"
)

// dataKey returns the data key of h, acquired.
func (k *Keyring) dataKey(ctx context.Context, h *Header) (*DataKey, error) {
	id := k.id(h.EDKs, h.context)
	if w := k.write.Load(); k.o.WriteOnly && w != nil && w.id == id && w.key.Acquire() {
		return w.key, nil
	}
	fetch := func(ctx context.Context) (*DataKey, error) { return k.unwrap(ctx, h) }
	if k.o.Cache == nil {
		return fetch(ctx)
	}
	return k.o.Cache.Load(ctx, id, fetch)
}

// unwrap has KMS open the data key of h.
func (k *Keyring) unwrap(ctx context.Context, h *Header) (key *DataKey, err error) {
	if err := k.enter(); err != nil {
		return nil, err
	}
	defer k.running.Done()
	if err := k.checkReading(h); err != nil {
		return nil, err
	}
	err = k.try(ctx, h, func(arn string, _, e EDK) error {
		key, err = k.decrypt(ctx, arn, e.Blob, h.context)
		return err
	})
	return key, err
}

// checkReading refuses to have KMS open h's data key where that is not wanted.
func (k *Keyring) checkReading(h *Header) error {
	if !k.o.WriteOnly {
		return nil
	}
	return &KeyError{ID: h.key(), Reason: Denied, Detail: "is not asked for Decrypt by a write-only host", Remedy: "mount without --write-only"}
}

// try calls use for the EDKs of h that are accepted, with the ARN of the KMS
// key to ask, until one is no error. If none is accepted, or KMS does not let
// them be used, it tries what the rewrap registry has in their places; old is
// then the EDK of h.
func (k *Keyring) try(ctx context.Context, h *Header, use func(arn string, old, e EDK) error) error {
	var failed []error
	attempt := func(old, e EDK) (done bool) {
		arn, ok := k.accepts(e)
		if !ok {
			return false
		}
		err := use(arn, old, e)
		if err != nil {
			failed = append(failed, err)
		}
		return err == nil
	}
	for _, e := range h.EDKs {
		if attempt(e, e) {
			return nil
		}
	}
	// An outage comes before a refusal: with the other key up it may work again.
	if i := slices.IndexFunc(failed, Passing); i > 0 {
		failed[0], failed[i] = failed[i], failed[0]
	}
	if len(failed) > 0 && !slices.ContainsFunc(failed, Refused) {
		return join(failed)
	}
	for _, e := range h.EDKs {
		if e.Provider != providerKMS {
			continue
		}
		renewed, ok, err := k.registered(ctx, e)
		if err != nil {
			failed = append(failed, err)
		} else if ok && attempt(e, renewed) {
			return nil
		}
	}
	if len(failed) > 0 {
		return join(failed)
	}
	if h.key() == "" {
		return fmt.Errorf("%w of KMS: no data key in its header is wrapped by KMS", ErrForeign)
	}
	return &KeyError{ID: h.key(), Reason: NotAccepted, Detail: "is not one whose objects are opened here", Remedy: "allow it with --allow-key-id"}
}

// join makes one error, on one line, of several: it is the first one, and only
// tells of the others.
func join(all []error) error {
	err := all[0]
	for _, next := range all[1:] {
		err = fmt.Errorf("%w; and %v", err, next)
	}
	return err
}
