package crypto

import "context"

// SealReserve begins a message that has to be sealed even if KMS does not answer,
// and may be bound to another object: under the newest data key that there is. It
// asks KMS only where there is none. The Keyring needs Reserve in its options.
func (k *Keyring) SealReserve(ctx context.Context) (*Sealer, error) {
	if err := k.enter(); err != nil {
		return nil, err
	}
	defer k.running.Done()
	w, err := k.reserved(ctx)
	if err != nil {
		return nil, err
	}
	defer w.key.Release()
	s, err := newSealer(w.key.bytes(), w.pairs, w.edks)
	if err != nil {
		return nil, err
	}
	s.meter = &w.bytes
	return s, nil
}

// reserved returns the key of SealReserve. The caller releases it.
func (k *Keyring) reserved(ctx context.Context) (*writeKey, error) {
	k.mu.Lock()
	w := k.spare
	ok := w != nil && w.key.Acquire()
	k.mu.Unlock()
	if ok {
		return w, nil
	}
	w, err := k.generate(ctx, k.pairs(probeKey))
	if err != nil {
		return nil, asKeyError(k.o.Keys[0].ARN, "was not waited for", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.spareLocked(w)
	return w, nil
}

// spareLocked makes w the key of SealReserve, nil none.
func (k *Keyring) spareLocked(w *writeKey) {
	if !k.o.Reserve || w != nil && !w.key.Acquire() {
		return
	}
	if k.spare != nil {
		k.spare.key.Release()
	}
	k.spare = w
}
