package s3io

import "context"

// Rewrite replaces src by its own content, read and sealed anew under the
// current keys, whatever its size, with the attributes a. Kind Stale says that
// src changed, KeyRejected that it is not sealed. Once begun it is carried
// through: ctx only prevents the start.
func (b *Bucket) Rewrite(ctx context.Context, src Object, a Attrs) (Object, error) {
	src, err := b.known(ctx, src)
	if err != nil {
		return Object{}, err
	}
	return b.rewrite(ctx, src, src.Key, a, Condition{IfMatch: src.ETag})
}

// rewrite makes dst from src, of which everything is known, like Copy, but by
// reading the content and sealing it anew.
func (b *Bucket) rewrite(ctx context.Context, src Object, dst string, a Attrs, c Condition) (Object, error) {
	if err := begun(ctx, opCopy, dst); err != nil {
		return Object{}, err
	}
	w := b.newWriter(dst, &src, c, true)
	defer w.Abort()
	w.cond, w.written = c, true
	return w.Commit(context.WithoutCancel(ctx), a)
}
