package fs

import (
	"context"

	"github.com/kmsfs/kmsfs/s3io"
)

// conflictTries bounds how often somebody else may be faster in one rename.
const conflictTries = 5

// copyOver is copyTo for a rename: what somebody else put under key meanwhile
// is dealt with as the mount's policy says, unless c is exact.
func (n *file) copyOver(ctx context.Context, key string, c s3io.Condition) (old s3io.Object, err error) {
	for try := 1; ; try++ {
		old, err = n.copyTo(ctx, key, c)
		if !isKind(err, s3io.Exists) && !isKind(err, s3io.Stale) || try == conflictTries {
			return old, err
		}
		if c, err = n.f.b.Reconcile(ctx, key, c, err); err != nil {
			return old, err
		}
	}
}

// claim is told that n is created with O_EXCL: somebody else's file of that name
// is an error even if it comes before the first commit, which then fails. Under
// Options.StrictExcl an empty object takes the name at once, and decides. No
// rename of d ends before release is called.
func (d *dir) claim(ctx context.Context, n *file, name, component string) (release func(), err error) {
	n.excl = true
	if !d.f.o.StrictExcl {
		return func() {}, nil
	}
	wait, stop := patient(ctx)
	defer stop()
	u, err := d.f.moves.share(wait, d)
	if err != nil {
		return nil, err
	}
	want := n.wantLocked() // nobody else knows n yet
	var o s3io.Object
	err = d.f.apart(ctx, "create "+d.pathIn(name), func(ctx context.Context) (err error) {
		o, err = d.f.b.Put(ctx, d.prefix()+component, emptyBody(), 0, want, s3io.Condition{IfAbsent: true, Exact: true})
		return err
	})
	if err != nil {
		if isKind(err, s3io.Exists) {
			d.listed(component)
		}
		u.end()
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pinLocked(o, want, 0)
	n.unsaved = false
	return u.end, nil
}
